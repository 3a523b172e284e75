"""Training of codebooks and assignment of labels: faiss as we use it (OPQ to 64 numbers, k-means, exact search), the published
form of mHuBERT-147 (the same with an HNSW graph), scikit-learn's MiniBatchKMeans with fairseq's settings.

    python scripts/bench/clustering.py --threads 1                                 # features from a mixture
    python scripts/bench/clustering.py --phones FOLDER --whisper FOLDER            # of speech, with PNMI
    python scripts/bench/clustering.py --alone --device cuda                       # our side alone, without scikit-learn
    python scripts/bench/clustering.py --quick                                     # 64 units, seconds

Labels are compared on the same units: those of our codebook, which the exact search in the space of the features takes as the
mean features of each. Frames per second are those of one call on `--frames` frames. A process a side, in turns. On a GPU
(`--device cuda`) our assignment alone computes there, on features that lie there already; all else is on the CPU, as it says.

Features without `--phones`: 768 numbers from 2,000 Gaussians, whose means and shared covariance have spectra that fall off, as
those of encoders do. With it: layer 4 of a Whisper encoder and half of layer 3, 768 numbers for Whisper base (`--layer-alone`:
layer 4, 512 numbers), of speech in the ML-SUPERB layout (`wav/ID.ogg` and `phones.tsv`: id, start_s, end_s, phone). Every eighth
utterance is held out, and PNMI (mutual information of phones and units over the entropy of phones) is of those.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from scripts.bench.harness import (
    Figures,
    Table,
    command_line,
    in_child,
    in_turns,
    machine,
    peak_gb,
    save,
    seconds,
    set_up,
)

SIZE, RATE_HZ, LAYER = 768, 50, 4
HELD_OUT = 8  # one utterance of so many
WAYS = {"ours": "faiss", "published": "mhubert_147", "scikit-learn": "sklearn"}  # conf/clustering
SIDES = ("scikit-learn predict", "fairseq's numpy", "published: graph", "ours")


def prepare(settings: argparse.Namespace) -> Figures:
    """Write the features to fit, those to score and, of speech, their phones."""
    import numpy as np

    set_up(settings)
    made = speech(settings) if settings.phones else mixture(settings)
    for name, array in made.items():
        np.save(f"{settings.folder}/{name}.npy", array)
    return {name: list(array.shape) for name, array in made.items()}


def mixture(settings: argparse.Namespace) -> dict[str, Any]:
    """Frames of Gaussians, the components' weights uneven."""
    import numpy as np

    rng = np.random.default_rng(0)
    spectrum_D = (1 + np.arange(SIZE)) ** -0.5
    rotation_DD = np.linalg.qr(rng.normal(size=(SIZE, SIZE)))[0].astype(np.float32)
    means_CD = (rng.normal(size=(2000, SIZE)) * spectrum_D).astype(np.float32)
    weights_C = rng.gamma(1.0, size=len(means_CD))

    def draw(num: int) -> np.ndarray:
        which_F = rng.choice(len(means_CD), size=num, p=weights_C / weights_C.sum())
        noise_FD = rng.standard_normal((num, SIZE), dtype=np.float32) * spectrum_D.astype(np.float32)
        return (means_CD[which_F] + 0.7 * noise_FD) @ rotation_DD

    return {"fit": draw(settings.frames), "score": draw(settings.frames // 8)}


def speech(settings: argparse.Namespace) -> dict[str, Any]:
    """Layer 4 of a Whisper encoder and half of layer 3, and the phone of each frame that is held out."""
    import numpy as np
    import pandas as pd
    import soundfile
    import torch

    from mlsuperb.upstreams.whisper import Whisper

    upstream = Whisper(checkpoint=str(settings.whisper), revision="main").eval()
    marks = dict(iter(pd.read_csv(f"{settings.phones}/phones.tsv", sep="\t").groupby("id")))
    parts: dict[str, list[np.ndarray]] = {"fit": [], "score": [], "phones": []}
    for number, (name, of) in enumerate(sorted(marks.items())):
        wave_T = soundfile.read(f"{settings.phones}/wav/{name}.ogg", dtype="float32")[0]
        with torch.inference_mode():
            layers = upstream(torch.from_numpy(wave_T)[None], torch.tensor([len(wave_T)])).layers
        beside = 0 if settings.layer_alone else layers[0].shape[-1] // 2
        frames_FD = torch.cat([layers[LAYER][0], layers[LAYER - 1][0, :, :beside]], 1).numpy()
        parts["score" if number % HELD_OUT == 0 else "fit"].append(frames_FD)
        if number % HELD_OUT == 0:
            at_F = np.searchsorted(of["end_s"].to_numpy(), (np.arange(len(frames_FD)) + 0.5) / RATE_HZ)
            parts["phones"].append(of["phone"].to_numpy().astype("U")[at_F.clip(max=len(of) - 1)])
    return {name: np.concatenate(of) for name, of in parts.items()}


def train(settings: argparse.Namespace) -> Figures:
    """Fit one codebook and save it; time and peak memory, beside what the features take."""
    import numpy as np
    import yaml
    from hydra.utils import get_object

    from mlsuperb.config.options import conf_dir

    device = set_up(on_cpu(settings))
    features_FD = np.load(f"{settings.folder}/fit.npy")
    before = peak_gb(device)
    found: list[Any] = []
    node = yaml.safe_load((conf_dir() / f"clustering/{WAYS[settings.way]}.yaml").read_text(encoding="utf-8"))
    given = {key: value for key, value in node.items() if key not in ("name", "_target_")}
    way = get_object(node["_target_"])(**given | {"num_units": settings.units})
    taken = seconds(lambda: found.append(way.fit(features_FD, rate_hz=RATE_HZ, seed=0, record={})))
    folder = Path(settings.folder) / settings.way
    folder.mkdir(exist_ok=True)
    found[0].save(folder)
    labels_F = labeller(settings.way, settings, device)(np.load(f"{settings.folder}/score.npy"))
    return {"seconds": taken, "peak_gb": [peak_gb(device), before], "pnmi": pnmi(settings, labels_F)}


def on_cpu(settings: argparse.Namespace) -> argparse.Namespace:
    """The settings with the CPU as their device."""
    return argparse.Namespace(**vars(settings) | {"device": "cpu"})


def labeller(side: str, settings: argparse.Namespace, device: Any) -> Any:
    """What gives frames (F, D), an array or a tensor, their labels (F,), an array: a side of the assignment, or the codebook of a
    way of training. `device`: where ours computes."""
    from dataclasses import replace

    import numpy as np
    import torch

    from mlsuperb.units.codebook import Codebook

    if side in SIDES[:2]:
        centroids_KD = np.load(f"{settings.folder}/means.npy")
        return sklearn_predict(centroids_KD) if side == SIDES[0] else fairseq_apply(centroids_KD)
    book = Codebook.load(Path(settings.folder) / (side if side in WAYS else "ours"))
    if side == SIDES[2]:
        book = replace(book, search="hnsw")
    book = book.to(device)
    return lambda features_FD: book.assign(torch.as_tensor(features_FD).to(device)).cpu().numpy()


def sklearn_predict(centroids_KD: Any) -> Any:
    """`predict` of a MiniBatchKMeans with these centroids."""
    from sklearn.cluster import MiniBatchKMeans

    model = MiniBatchKMeans(len(centroids_KD), init=centroids_KD, n_init=1, max_iter=1).fit(centroids_KD)
    model.cluster_centers_ = centroids_KD
    return model.predict


def fairseq_apply(centroids_KD: Any) -> Any:
    """`ApplyKmeans` of fairseq's `dump_km_label.py`, without a GPU."""
    import numpy as np

    norms_K = (centroids_KD**2).sum(1)

    def apply(features_FD: np.ndarray) -> np.ndarray:
        distances_FK = (features_FD**2).sum(1, keepdims=True) - 2 * features_FD @ centroids_KD.T + norms_K
        return np.argmin(distances_FK, axis=1)

    return apply


def save_means(settings: argparse.Namespace) -> Figures:
    """The mean features of each of our units: its centroid in the space of the features."""
    import numpy as np

    features_FD = np.load(f"{settings.folder}/fit.npy")
    labels_F = labeller("ours", settings, set_up(on_cpu(settings)))(features_FD)
    sums_KD = np.zeros((settings.units, features_FD.shape[1]))
    np.add.at(sums_KD, labels_F, features_FD)
    counts_K = np.bincount(labels_F, minlength=settings.units)
    means_KD = sums_KD / counts_K.clip(min=1)[:, None]
    means_KD[counts_K == 0] = 1e4  # never the nearest
    np.save(f"{settings.folder}/means.npy", means_KD.astype(np.float32))
    return {}


def assign(settings: argparse.Namespace) -> Figures:
    """Frames per second of one side; how its labels agree with two exact searches; PNMI."""
    import numpy as np
    import torch

    ours = settings.side == "ours"
    device = set_up(settings if ours else on_cpu(settings))
    features_FD = np.load(f"{settings.folder}/fit.npy", mmap_mode="r")
    features_FD = np.resize(features_FD, (settings.frames, features_FD.shape[1]))  # repeated, if need be
    find = labeller(settings.side, settings, device)
    given_FD = torch.from_numpy(features_FD).to(device) if ours else features_FD  # an upstream's frames lie there, too
    find(given_FD[:2000])
    taken = seconds(lambda: find(given_FD), times=3, device=device)
    scored_FD = np.load(f"{settings.folder}/score.npy")
    labels_F = find(scored_FD)
    exact = [float((labels_F == other_F).mean()) for other_F in exact_labels(scored_FD, settings)]
    speeds = [len(features_FD) / one for one in taken]
    about = {"pnmi": pnmi(settings, labels_F), "machine": machine(device)}
    return {"per_s": speeds, "agreement": exact, "peak_gb": peak_gb(device)} | about


def exact_labels(features_FD: Any, settings: argparse.Namespace) -> list[Any]:
    """By distances in float64: after the projection, and among mean features."""
    import numpy as np

    from mlsuperb.units.codebook import Codebook

    book = Codebook.load(Path(settings.folder) / "ours")
    projected_FP = features_FD.astype(np.float64) @ book.projection_DP.double().numpy()
    spaces = (projected_FP, book.centroids_KP.double().numpy()), (features_FD, np.load(f"{settings.folder}/means.npy"))
    return [
        ((points_KD.astype(np.float64) ** 2).sum(1) - 2 * frames_FD @ points_KD.T.astype(np.float64)).argmin(1)
        for frames_FD, points_KD in spaces
    ]


def pnmi(settings: argparse.Namespace, labels_F: Any) -> float | None:
    """Mutual information of phones and units over the entropy of phones; None without phones."""
    if not settings.phones:
        return None
    import numpy as np
    from sklearn.metrics import mutual_info_score

    phones_F = np.load(f"{settings.folder}/phones.npy")
    return float(mutual_info_score(phones_F, labels_F) / mutual_info_score(phones_F, phones_F))


def profile(settings: argparse.Namespace) -> Figures:
    """Microseconds a frame of the parts of our assignment: projection, scores, search for the least."""
    import numpy as np
    import torch

    from mlsuperb.units import codebook

    device = set_up(settings)
    book = codebook.Codebook.load(Path(settings.folder) / "ours").to(device)
    features_FD = torch.from_numpy(np.load(f"{settings.folder}/fit.npy")[: settings.frames]).to(device)
    pieces = features_FD.split(codebook._PIECE if device.type == "cpu" else codebook._PIECE_OF_GPU)
    projected = [one @ book.projection_DP for one in pieces]
    half_norms_K, minus_PK = book._scorer

    def each(work: Any, parts: Any) -> list[float]:
        def whole() -> None:
            for one in parts:
                work(one)

        whole()
        return [1e6 * taken / len(features_FD) for taken in seconds(whole, times=3, device=device)]

    return {
        "projection": each(lambda one: one @ book.projection_DP, pieces),
        "scores": each(lambda one: torch.addmm(half_norms_K, one, minus_PK), projected),
        "scores and search": each(book._nearest, projected),
        "all": each(book.assign, [features_FD]),
    }


def shown(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def show_training(settings: argparse.Namespace) -> dict[str, Figures]:
    """Train every way and print."""
    ways = ["ours"] if settings.alone else WAYS
    sides = {way: (train, argparse.Namespace(**vars(settings), way=way)) for way in ways}
    found = in_turns(sides, rounds=settings.train_rounds)
    table = Table("training (on the CPU)", "s", "processor s", "peak, GB", "before, GB", "PNMI")
    for way, row in found.items():
        numbers = [f"{one:.1f}" for one in row["seconds"]] + [f"{one:.2f}" for one in row["peak_gb"]]
        table.row(way, *numbers, shown(row["pnmi"]))
    return found


def show_assignment(settings: argparse.Namespace) -> dict[str, Figures]:
    """Label with every side and print."""
    names = ("ours",) if settings.alone else SIDES
    sides = {side: (assign, argparse.Namespace(**vars(settings), side=side)) for side in names}
    found = in_turns(sides, rounds=settings.rounds)
    print(f"\n{settings.frames:,} frames")
    columns = ("frames / s", "ratio", "ratio, processor s", "as exact after projection", "as exact before it", "PNMI")
    table, baseline = Table("assignment", "on", *columns, text=2), found[names[0]]["per_s"]
    for side, row in found.items():
        ratios = [f"{ours / theirs:.2f} x" for ours, theirs in zip(row["per_s"], baseline, strict=True)]
        table.row(
            side, row["machine"], f"{row['per_s'][0]:,.0f}", *ratios, *map(shown, row["agreement"]), shown(row["pnmi"])
        )
    return found


def main() -> int:
    """Measure and print."""
    parser = command_line(__doc__, rounds=5, device="cpu")
    parser.set_defaults(threads=1)
    parser.add_argument("--units", type=int, default=1000)
    parser.add_argument("--frames", type=int, default=100_000, help="of a call; of a mixture, to fit, too")
    parser.add_argument("--phones", type=Path, help="folder of speech with phones.tsv")
    parser.add_argument("--whisper", type=Path, help="folder of a Whisper encoder")
    parser.add_argument("--layer-alone", action="store_true", help="the features of one layer")
    parser.add_argument("--train-rounds", type=int, default=1, help="of training (default: 1)")
    parser.add_argument("--folder", type=Path, help="where the scratch folder goes (default: the system's)")
    parser.add_argument("--alone", action="store_true", help="our side alone")
    parser.add_argument("--quick", action="store_true", help="64 units, 4,000 frames, one round")
    options = parser.parse_args()
    if options.quick:
        options.units, options.frames, options.rounds = 64, 4_000, 1
    with tempfile.TemporaryDirectory(dir=options.folder) as options.folder:
        print(f"{options.units} units, {in_child(prepare, options)}, threads: {options.threads}\n")
        training = show_training(options)
        save(options, {"training": training}, unfinished=True)
        in_child(save_means, options)
        assignment = show_assignment(options)
        save(options, {"training": training, "assignment": assignment}, unfinished=True)
        parts = in_turns({"ours": (profile, options)}, rounds=options.rounds)["ours"]
        print("\nmicroseconds a frame: " + ", ".join(f"{name} {one[0]:.2f}" for name, one in parts.items()))
    save(options, {"training": training, "assignment": assignment, "profile": parts})
    return 0


if __name__ == "__main__":
    sys.exit(main())
