"""The smallest runs of every job that still prepare, train, validate, write checkpoints, decode and score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

RATE_HZ = 16_000
HEAD = (
    "head=transformer_light", "head.num_blocks=1", "head.size=16", "head.ffn_size=16", "head.num_heads=2",
    "head.frontend=conv1d2", "decoding=prefix_beam",
)  # fmt: skip
TRAINER = ("trainer.device=cpu", "trainer.iterations_per_epoch=4", "trainer.max_epochs=3", "trainer.checkpoint_every=3")
TURNS = ("trainer.accumulate=2", "trainer.checkpoint_every=2")  # speech and text in one update
BATCHES = ("loading.train.max_batch_s=5",)
TINY = ("upstream=tiny", "upstream.num_blocks=2", "upstream.hidden_size=64", "upstream.conv_channels=32")
PRETRAINED = (
    "upstream.num_blocks=2", "upstream.hidden_size=32", "upstream.num_heads=2", "upstream.ffn_size=64",
    "upstream.conv_channels=[16,16,16,16,16,16,16]", "upstream.position_kernel=16", "upstream.position_groups=2",
    "prediction.final_size=16", "trainer.precision=fp32",
)  # fmt: skip
VOCODER = (
    "vocoder=unit_hifigan_tiny", "vocoder.unit_size=8", "vocoder.speaker_size=4", "vocoder.language_size=4",
    "vocoder.initial_channels=32", "loading.train.max_batch_size=2",
)  # fmt: skip
TRANSLATION = (
    "model=seamless_new", "model.size=32", "model.encoder_blocks=1", "model.decoder_blocks=1", "model.num_heads=2",
    "model.ffn_size=64", "adaptation=everything", "search=greedy", "search.max_tokens=5", "train_on=[speech,text]", "text=tsv",
    "text.source_language=eng", "text.target_language=deu",
)  # fmt: skip
LABELS = "labels"


@dataclass(frozen=True, kw_only=True)
class Job:
    """Arguments of `mlsuperb.run`, without its folders.

    Args:
        on_labels: the job reads the labels of an earlier run (`targets.run`).
    """

    name: str
    arguments: tuple[str, ...]
    on_labels: bool = False

    def command(self, root: Path, *, labels: Path | None) -> list[str]:
        """All arguments for a run below `root`."""
        targets = [f"targets.run={labels}"] if self.on_labels else []
        return [*self.arguments, *targets, f"output_root={root}"]


def all_jobs(data: Path) -> list[Job]:
    """The jobs, the one that others need first.

    Args:
        data: folder that `write_data` has filled.
    """
    splits = [f"data.{split}={data / split}.csv" for split in ("train", "dev", "test")]
    table, pairs = ("data=table", *splits), (f"text.train={data}/pairs.tsv", f"text.dev={data}/pairs.tsv")
    benchmark = ("+exp=demo", *table, *HEAD, "trainer=default", *TRAINER, "trainer.keep_best=2", *BATCHES)
    untold = (*table[:3], "+data.text=optional")
    features = ("upstream=fbank", "clustering.num_units=6", "extraction.device=cpu", "labelling.rows_per_shard=3")
    return [
        Job(name=LABELS, arguments=("job=labels", *untold, *features)),
        Job(name="benchmark FBANK", arguments=(*benchmark, "upstream=fbank")),
        Job(name="benchmark cached", arguments=(*benchmark, *TINY)),
        Job(name="benchmark LoRA", arguments=(*benchmark, *TINY, "adaptation=lora", "adaptation.rank=2")),
        Job(name="pretrain", arguments=("job=pretrain", *TRAINER, *PRETRAINED, *BATCHES), on_labels=True),
        Job(name="vocoder", arguments=("job=vocoder", *TRAINER, *VOCODER), on_labels=True),
        Job(
            name="translation", arguments=("job=translation", *table, *TRANSLATION, *pairs, *TRAINER, *TURNS, *BATCHES)
        ),
    ]


def write_data(folder: Path, *, sizes: Sequence[tuple[str, int]] = (("train", 10), ("dev", 4), ("test", 6))) -> None:
    """Noises of two speakers and languages with transcripts, and pairs of texts."""
    import numpy as np
    import soundfile

    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for split, num in sizes:
        rows = ["id,audio,text,language,speaker"]
        for number in range(num):
            name = f"{split}{number}"
            wave = np.convolve(rng.standard_normal(11_000 + 1_777 * number), rng.standard_normal(8), "same")
            soundfile.write(folder / f"{name}.wav", 0.1 * wave / np.abs(wave).max(), RATE_HZ)
            words = " ".join(rng.choice(["ab", "ba", "da", "guten", "tag"], 3))
            rows.append(f"{name},{folder / name}.wav,{words},{('deu', 'swa')[number % 2]},s{number % 2}")
        (folder / f"{split}.csv").write_text("\n".join([*rows, ""]), encoding="utf-8")
    pairs = ["source\ttarget", "good day\tguten Tag", "day\tTag", "good\tgut", "day day\tTag Tag", ""]
    (folder / "pairs.tsv").write_text("\n".join(pairs), encoding="utf-8")
