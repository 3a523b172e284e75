"""`mlsuperb analyse`: layer weights, transfer and sweeps on runs made by hand, t-SNE on a trained one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
from runs_by_hand import hypothesis, make_run

from mlsuperb.commands.analyse import main
from mlsuperb.commands.errors import end
from mlsuperb.types import Hypothesis

ROOT = Path(__file__).resolve().parents[2]
WEIGHTS = (0.2, 0.3, 0.5)


def analyse(*words: object) -> None:
    main([str(word) for word in words])


def refused(*words: object) -> str:
    with pytest.raises(SystemExit) as error:
        end(lambda: analyse(*words))
    return str(error.value)


def spoken(language: str, *, wrong: int, num: int = 6, dataset: str = "mls") -> list[Hypothesis]:
    """Utterances of ten letters, of which `wrong` are."""
    output = "Z" * wrong + "ABCDEFGHIJ"[wrong:]
    return [hypothesis(language, number, "abcdefghij", output, dataset=dataset) for number in range(num)]


def asr_lid(language: str, *, wrong: int) -> list[Hypothesis]:
    return [
        hypothesis(language, number, "abcdefghi", f"[{language}] " + "Z" * wrong + "ABCDEFGHI"[wrong:])
        for number in range(6)
    ]


def read(folder: Path, name: str) -> pd.DataFrame:
    for suffix in ("svg", "png"):
        assert (folder / f"{name}.{suffix}").stat().st_size > 1000
    return pd.read_csv(folder / f"{name}.csv", keep_default_na=False, na_values={"error_rate": [""], "low": [""]})


# Layer weights


def test_layer_weights_of_a_folder_of_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for language in ("nan", "eng"):
        make_run(tmp_path / "exp" / "deeper" / language, spoken(language, wrong=1), weights=WEIGHTS)
    make_run(tmp_path / "exp" / "deeper" / "eng" / "evaluations" / "other", spoken("fra", wrong=1), weights=WEIGHTS)
    named = {"experiment": "v1/mono_asr", "track": "mono_asr", "size": "10min", "run": "eng1", "deviations": {}}
    make_run(tmp_path / "exp" / "large", spoken("eng", wrong=1), weights=[0.1] * 10, num_layers=10, benchmark=named)
    last = {"name": "last_layer"}
    make_run(tmp_path / "exp" / "last", spoken("eng", wrong=1), weights=None, featurizer=last)
    (tmp_path / "exp" / "begun").mkdir()
    (tmp_path / "exp" / "begun" / "config.yaml").write_text("seed: 0")
    analyse("layer_weights", tmp_path / "exp")
    shown = capsys.readouterr().out
    assert "featurizer=last_layer takes one layer and learns no weights" in shown
    assert f"left out: {tmp_path / 'exp' / 'begun'}: not started" in shown
    assert "an evaluation of a trained run on data it was given later" in shown
    table = read(tmp_path / "exp" / "analysis", "layer_weights")
    assert dict(table.groupby("label")["layer"].count()) == {"nan Min Nan Chinese": 3, "eng English": 3, "eng1": 10}
    assert table[table["label"] == "nan Min Nan Chinese"]["weight"].tolist() == list(WEIGHTS)
    picture = (tmp_path / "exp" / "analysis" / "layer_weights.svg").read_text()
    assert "layer of 3" in picture
    assert "layer of 10" in picture


def test_runs_with_the_same_subject_are_told_apart(tmp_path: Path) -> None:
    for name, changed in {
        "a": {},
        "b": {"adaptation": {"name": "lora"}},
        "c": {"seed": 1},
        "d": {"seed": 1, "data": {"name": "elsewhere"}},
    }.items():
        make_run(tmp_path / name, spoken("eng", wrong=1), **changed)
    analyse("layer_weights", *(tmp_path / name for name in "abcd"), "--out", tmp_path / "out")
    labels = read(tmp_path / "out", "layer_weights")["label"].drop_duplicates().tolist()
    assert labels == [
        "eng English, frozen, seed 0",
        "eng English, lora",
        "eng English, frozen, seed 1, c",
        "eng English, frozen, seed 1, d",
    ]


def test_weights_per_dimension_are_shown_as_a_mean(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    per_dimension = {"name": "own", "_target_": "mlsuperb.heads.featurizer.WeightedSumPerDimension"}
    make_run(tmp_path / "a", spoken("eng", wrong=1), weights=WEIGHTS, featurizer=per_dimension)
    make_run(tmp_path / "b", spoken("nan", wrong=1), weights=WEIGHTS)
    analyse("layer_weights", tmp_path / "a", tmp_path / "b", "--out", tmp_path / "out")
    labels = read(tmp_path / "out", "layer_weights")["label"].drop_duplicates().tolist()
    assert labels == ["eng English, mean over dimensions", "nan Min Nan Chinese"]
    shown = " ".join(capsys.readouterr().out.split())
    assert "for every feature dimension. The mean over dimensions is shown" in shown
    analyse("layer_weights", tmp_path / "b")
    assert "over dimensions" not in capsys.readouterr().out


def test_no_layer_weights(tmp_path: Path) -> None:
    run = make_run(tmp_path / "one", spoken("eng", wrong=1), weights=[1.0], num_layers=1)
    assert "has one layer, whose weight is always 1" in refused("layer_weights", run)
    result = json.loads((run / "result.json").read_text())
    del result["featurizer"]
    (run / "result.json").write_text(json.dumps(result))
    assert "by a version that did not record them" in refused("layer_weights", run)
    assert "there is no folder" in refused("layer_weights", tmp_path / "nothing")


# Transfer


@pytest.fixture
def transfer_runs(tmp_path: Path) -> Path:
    """fra, spa, por, each tested on all three, but for por on fra."""
    wrong = {"fra": {"fra": 1, "spa": 6, "por": 7}, "spa": {"fra": 6, "spa": 2, "por": 4}, "por": {"spa": 3, "por": 1}}
    for trained, tested in wrong.items():
        data = {"name": "by_hand", "languages": [trained]}
        run = make_run(tmp_path / "exp" / trained, spoken(trained, wrong=tested[trained]), data=data)
        for language in tested.keys() - {trained}:
            folder = run / "evaluations" / language
            make_run(folder, spoken(language, wrong=tested[language]), data={**data, "languages": [language]})
    return tmp_path / "exp"


def test_transfer(transfer_runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    analyse("transfer", transfer_runs)
    shown = capsys.readouterr().out
    assert "not measured: por on fra" in shown
    folder = transfer_runs / "analysis"
    for name in ("transfer_matrix", "transfer_bars"):
        table = read(folder, name)
        cells = table.set_index(["trained_on", "tested_on"])["error_rate"]
        assert len(cells) == 9
        assert cells["spa", "por"] == 40
        assert cells["fra", "fra"] == 10
        assert pd.isna(cells["por", "fra"])
    assert table["in_training"].astype(str).value_counts().to_dict() == {"False": 5, "True": 3, "": 1}
    assert table["tested_on"].tolist()[:3] == ["fra", "por", "spa"]  # as the rows, so that the diagonal is one
    samples = pd.read_csv(folder / "transfer_samples.csv")
    assert len(samples) == 5 * 3
    assert set(zip(samples["trained_on"], samples["tested_on"], strict=True)).isdisjoint({("fra", "fra")})
    first = samples[(samples["trained_on"] == "fra") & (samples["tested_on"] == "spa")].iloc[0]
    assert (first["reference"], first["hypothesis"], first["error_rate"]) == ("ABCDEFGHIJ", "ZZZZZZGHIJ", 60)
    assert "## Trained on fra, tested on spa" in (folder / "transfer_samples.md").read_text()


def test_mean_and_deviation_are_of_utterances(tmp_path: Path) -> None:
    texts = [("ab", "AB"), ("ab", "ZB"), ("a" * 100, "A" * 100), ("", "A")]
    ones = [hypothesis("fra", number, *pair) for number, pair in enumerate(texts)]
    run = make_run(tmp_path / "run", ones)
    analyse("transfer", run)
    (row,) = read(run / "analysis", "transfer_bars").to_dict("records")
    assert row["num_utterances"] == 4
    assert row["num_no_reference"] == 1
    assert row["error_rate"] == pytest.approx(100 * 2 / 104)  # the A without a reference is an error, too
    assert row["mean_of_utterances"] == pytest.approx(50 / 3)
    assert row["sd_of_utterances"] == pytest.approx(28.8675, abs=1e-3)


def test_transfer_across_datasets(tmp_path: Path) -> None:
    """Trained on one dataset, tested on both at once."""
    for dataset in ("mls", "swc"):
        ones = [
            *spoken("eng", wrong=1, dataset=dataset),
            *spoken("eng", wrong=5, dataset="swc" if dataset == "mls" else "mls"),
        ]
        make_run(tmp_path / "exp" / dataset, ones, data={"name": "by_hand", "train_datasets": [dataset]})
    analyse("transfer", tmp_path / "exp", "--by", "dataset")
    cells = read(tmp_path / "exp" / "analysis", "transfer_matrix").set_index(["trained_on", "tested_on"])["error_rate"]
    assert cells.to_dict() == {("mls", "mls"): 10, ("mls", "swc"): 50, ("swc", "mls"): 50, ("swc", "swc"): 10}


@pytest.mark.parametrize("by", ["language", "dataset"])
def test_transfer_knows_the_training_data_from_the_result(tmp_path: Path, by: str) -> None:
    """Tested on Swahili alone, which it was not trained on."""
    run = make_run(tmp_path / "run", spoken("swa", wrong=5, dataset="cv"))
    path = run / "result.json"
    result = json.loads(path.read_text())
    result["data"] |= {"languages": {"train": ["tur"]}, "datasets": {"train": {"mls": {"languages": ["tur"]}}}}
    path.write_text(json.dumps(result))
    analyse("transfer", run, "--by", by)
    (row,) = read(run / "analysis", "transfer_bars").to_dict("records")
    expected = {"language": ("tur", "swa"), "dataset": ("mls", "cv")}[by]
    assert (row["trained_on"], row["tested_on"], row["in_training"]) == (*expected, False)


def test_transfer_refuses_what_cannot_be_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fra = make_run(tmp_path / "fra", spoken("fra", wrong=1))
    spa = make_run(tmp_path / "spa", spoken("spa", wrong=1))
    make_run(fra / "evaluations" / "spa", spoken("spa", wrong=5, num=4))
    assert "tested on other utterances of spa (4 and 6, 4 in both)" in refused("transfer", fra, spa)
    both = make_run(tmp_path / "both", asr_lid("fra", wrong=1), task="asr_lid")
    assert "task differs: asr and asr_lid" in refused("transfer", fra, both)
    lid = make_run(tmp_path / "lid", [hypothesis("fra", 0, "", "[fra]")], task="lid")
    assert "is of task lid and has no text" in refused("transfer", lid)
    beam = make_run(tmp_path / "beam", spoken("deu", wrong=1), decoding={"name": "prefix_beam"})
    assert "the decoder differs" in refused("transfer", spa, beam)
    make_run(spa / "evaluations" / "beam", spoken("deu", wrong=1), decoding={"name": "prefix_beam"})
    make_run(spa / "evaluations" / "spa", spoken("spa", wrong=2))
    capsys.readouterr()
    analyse("transfer", spa)
    shown = capsys.readouterr().out
    assert f"not shown: {spa / 'evaluations' / 'beam'} (the decoder differs)" in shown
    assert f"spa on spa was measured twice; the figure shows {spa}, not {spa / 'evaluations' / 'spa'}" in shown
    assert "no hypotheses of the split 'dev_dialect'; it has test" in refused("transfer", spa, "--split", "dev_dialect")


# Layer sweeps


def sweep_of(folder: Path, layers: Sequence[int], *, seed: int = 0) -> None:
    for layer in layers:
        featurizer = {"name": "one_layer", "layer": layer}
        run = folder / f"layer{layer}-{seed}"
        make_run(
            run,
            asr_lid("fra", wrong=1 + abs(layer)),
            featurizer=featurizer,
            weights=None,
            num_layers=4,
            task="asr_lid",
            seed=seed,
        )


def test_layer_sweep(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exp = tmp_path / "exp"
    sweep_of(exp, [0, 2, -1])
    sweep_of(exp, [2], seed=1)
    make_run(exp / "sum", asr_lid("fra", wrong=4), num_layers=4, task="asr_lid")
    analyse("layer_sweep", exp)
    shown = capsys.readouterr().out
    assert "no finished run for layer 1" in shown
    table = read(exp / "analysis", "layer_sweep")
    cer = table[table["measure"] == "CER %"]
    assert sorted(cer["layer"]) == ["", "0", "2", "2", "3"]  # -1 is the last of four
    assert cer.set_index("layer")["value"][""] == 40
    assert cer[cer["layer"] == "0"]["value"].item() == 10  # one of ten units, the space after the token included
    assert set(table[table["measure"] == "LID accuracy %"]["value"]) == {100}
    assert "weighted_sum" in (exp / "analysis" / "layer_sweep.svg").read_text()


def test_window_sweep(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number, window in enumerate(["4-9", "1-6", [10, 12]]):
        adaptation = {"name": "partial", "layers": window}
        make_run(tmp_path / "exp" / str(number), spoken("fra", wrong=1 + number), adaptation=adaptation)
    make_run(tmp_path / "exp" / "frozen", spoken("fra", wrong=8))
    (tmp_path / "exp" / "begun").mkdir()
    (tmp_path / "exp" / "begun" / "config.yaml").write_text("adaptation: {name: partial, layers: 7-12}")
    analyse("layer_sweep", tmp_path / "exp")
    assert "no finished run for window 7-12" in capsys.readouterr().out
    table = read(tmp_path / "exp" / "analysis", "window_sweep")
    assert dict(zip(table["window"], table["value"], strict=True)) == {"4-9": 10, "1-6": 20, "10,12": 30, "": 80}
    assert "frozen" in table["compared_with"].tolist()


def test_layer_sweep_refuses_a_mixture(tmp_path: Path) -> None:
    sweep_of(tmp_path, [0, 1])
    runs = [tmp_path / "layer0-0", tmp_path / "layer1-0"]
    assert "do not differ in the layer that they read" in refused("layer_sweep", runs[0])
    other = {"name": "one_layer", "layer": 2}
    make_run(
        tmp_path / "other",
        asr_lid("fra", wrong=1),
        featurizer=other,
        weights=None,
        task="asr_lid",
        upstream={"name": "wavlm"},
    )
    assert "differ in more than their layers" in refused("layer_sweep", *runs, tmp_path / "other")
    assert "upstream is tiny and wavlm" in refused("layer_sweep", *runs, tmp_path / "other")
    for name, adaptation in {
        "a": {"name": "partial", "layers": "1-2"},
        "b": {"name": "lora", "layers": "3-4", "rank": 8},
    }.items():
        make_run(tmp_path / name, spoken("fra", wrong=1), adaptation=adaptation)
    assert "rank is" in refused("layer_sweep", tmp_path / "a", tmp_path / "b")
    task = make_run(tmp_path / "task", spoken("fra", wrong=1), featurizer=other, weights=None)
    assert "task differs" in refused("layer_sweep", *runs, task)


# t-SNE of a run that was trained


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("trained")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mlsuperb.run", "+exp=demo", "upstream=tiny", "trainer=debug"),
            *("data.languages=[deu,swa]", "data.minutes=0.3", "data.test_minutes=0.3"),
            *("head.size=32", "head.ffn_size=32", "loading.train.max_batch_size=4"),
            *(f"data.root={root}/synthetic", f"output_root={root}/exp"),
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (result,) = root.glob("exp/*/result.json")
    return result.parent


def test_tsne_of_a_trained_run(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    analyse("tsne", trained, "--num-utterances", 9, "--k", 3, "--device", "cpu")
    shown = capsys.readouterr().out
    assert "Synthetic data" in shown
    points = read(trained / "analysis", "tsne")
    assert points.columns.tolist() == ["stage", "id", "language", "predicted", "correct", "x", "y"]
    assert set(points["language"]) == {"deu", "swa"}
    assert points["stage"].drop_duplicates().tolist()[0] == "upstream layer 3"
    assert points.groupby("stage")["id"].nunique().eq(9).all()
    neighbours = read(trained / "analysis", "knn")
    assert neighbours["stage"].tolist() == points["stage"].drop_duplicates().tolist()
    assert set(neighbours["num_utterances"]) == {9}
    files = {path.name: path.read_bytes() for path in (trained / "analysis").iterdir()}

    analyse("tsne", trained, "--num-utterances", 9, "--k", 3, "--device", "no_such_device")  # nothing is computed
    assert "remove" in capsys.readouterr().out
    assert {path.name: path.read_bytes() for path in (trained / "analysis").iterdir()} == files

    analyse(
        "tsne", trained, "--num-utterances", 9, "--k", 3, "--device", "cpu", "--all-layers", "--out", trained / "other"
    )
    stages = read(trained / "other", "knn")["stage"].tolist()
    assert stages[:4] == [f"upstream layer {number}" for number in range(4)]


def test_tsne_refuses(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no hypotheses of the split 'dev'; it has test" in refused("tsne", trained, "--split", "dev", "--k", 2)
    assert "gives 4 utterances, too few" in refused("tsne", trained, "--num-utterances", 4)
    bare = make_run(tmp_path / "bare", [*spoken("fra", wrong=1), *spoken("spa", wrong=1)])
    assert "is not the folder of a trained run" in refused("tsne", bare)
    one_language = make_run(tmp_path / "one", spoken("fra", wrong=1, num=20))
    assert "one language (fra)" in refused("tsne", one_language)
    capsys.readouterr()
    analyse("tsne", bare, trained, "--num-utterances", 9, "--k", 3, "--device", "cpu", "--out", tmp_path / "out")
    assert f"no figure: {bare} is not the folder" in capsys.readouterr().out
    assert (tmp_path / "out" / trained.name / "tsne.png").is_file()
