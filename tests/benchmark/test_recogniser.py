"""What a trained model says, on a model whose output can be worked out by hand (`levels`)."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from levels import FRAME, TOKENS, Levels, recogniser
from torch import Tensor

from mlsuperb.benchmark import build
from mlsuperb.benchmark.recogniser import Recogniser
from mlsuperb.config.compose import compose
from mlsuperb.data.dataset import SpeechDataset
from mlsuperb.data.manifest import to_frame
from mlsuperb.decoding.argmax import Argmax
from mlsuperb.decoding.base import Decoded
from mlsuperb.decoding.greedy import Greedy
from mlsuperb.runs import decoding
from mlsuperb.runs.decoding import decode
from mlsuperb.runs.hypotheses import read_hypotheses
from mlsuperb.tasks.asr import ASR
from mlsuperb.tasks.lid import LID
from mlsuperb.types import Batch, Encoded, Loss, Utterance

# what is written, what is said, its language, frames a token
SPOKEN = [
    ("a b", "[eng] <space> A <space> B", "eng", 2),
    ("ab", "[eng] <space> A B", "deu", 7),  # another language: 1 substitution
    ("c", "", "eng", 4),  # nothing: 3 deletions
    ("a", "[deu] <space> A B", "deu", 3),  # 1 insertion
    ("cc", "[deu] <space> C <blank> C", "deu", 5),
    ("b", "[eng] <space> B", "eng", 9),
]


@pytest.fixture
def manifest(tmp_path: Path) -> pd.DataFrame:
    rows = []
    for number, (text, said, language, num_frames) in enumerate(SPOKEN):
        tokens = said.split() or ["<blank>"]
        levels = np.repeat([TOKENS.index(token) / 10 for token in tokens], num_frames * FRAME)
        path = tmp_path / f"u{number}.wav"
        soundfile.write(path, levels, 16_000)
        split = "dev" if number % 2 else "test"
        rows.append(
            Utterance(
                id=path.stem,
                audio=str(path),
                start_s=0.0,
                duration_s=len(levels) / 16_000,
                text=text,
                language=language,
                dataset="d",
                split=split,
            )
        )
    return to_frame(rows)


def test_languages_are_those_of_the_vocabulary(manifest: pd.DataFrame, tmp_path: Path) -> None:
    tokens = [{"[deu]": "[zh-CN]", "[eng]": "[en]"}.get(token, token) for token in TOKENS]
    one = recogniser(tokens=tokens)
    renamed = manifest.assign(language=manifest["language"].map({"deu": "zh-CN", "eng": "en"}))
    assert one.validate(dataset(renamed, one), quick_decoder=Greedy())["valid_lid_error_rate"] == pytest.approx(2 / 6)
    decoded = decode(dataset(renamed, one), tmp_path / "hypotheses.jsonl", one).hypotheses
    assert [row.hypothesis for row in decoded][::3] == ["[en] A B", "[zh-CN] AB"]
    assert [row.predicted_language for row in decoded] == ["en", "en", None, "zh-CN", "zh-CN", "en"]


def dataset(manifest: pd.DataFrame, one: Recogniser) -> SpeechDataset:
    return one.loading.dataset(
        manifest, encode=lambda row: one.vocabulary.encode(one.task.target(row)), resample=True
    )  # fmt: skip


@pytest.mark.parametrize("batch_s", [0.1, 0.5, 100.0])
def test_validation_figures_are_those_counted_by_hand(manifest: pd.DataFrame, batch_s: float) -> None:
    one = recogniser(batch_s=batch_s)
    figures = one.validate(dataset(manifest, one), quick_decoder=Greedy())
    lengths = [5, 4, 3, 3, 4, 3]  # [eng] <space> A <space> B, ...
    assert figures == {
        "valid_loss": pytest.approx(sum(lengths) / 6),  # a mean over utterances, however they are batched
        "valid_token_error_rate": pytest.approx((1 + 3 + 1) / sum(lengths)),
        "valid_lid_error_rate": pytest.approx(2 / 6),  # the wrong one and the silent one
        "valid_silly_error_rate": pytest.approx(6 / sum(lengths)),  # the objective's own: one error an utterance
    }


@pytest.mark.parametrize("batch_s", [0.1, 100.0])
@pytest.mark.parametrize("also", [False, True])
def test_an_utterance_without_a_finite_loss_is_named(
    manifest: pd.DataFrame, batch_s: float, also: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the posteriors do not show whose fault it is, the batch is named."""
    one, marked = recogniser(batch_s=batch_s), str(manifest["id"].iloc[3])
    whole, encode, log_probs = Levels.forward, Levels.encode, Levels.log_probs
    seen: list[Any] = []

    def kept(self: Any, batch: Batch) -> Encoded:
        seen[:] = batch.ids
        return encode(self, batch)

    def loss(self: Any, *arguments: Any) -> Loss:
        found = whole(self, *arguments)
        return Loss(found.loss * (float("nan") if marked in seen else 1.0), found.counts)

    def spoilt(self: Any, encoded: Encoded) -> Encoded:
        found = log_probs(self, encoded)
        rows = torch.tensor([name == marked for name in seen])[:, None, None]
        return Encoded(found.values.masked_fill(rows, float("nan")), found.lengths_B)

    monkeypatch.setattr(Levels, "encode", kept)
    monkeypatch.setattr(Levels, "forward", loss)
    if also:
        monkeypatch.setattr(Levels, "log_probs", spoilt)
    with pytest.raises(ValueError, match="the loss of the validation is not finite on ") as error:
        one.validate(dataset(manifest, one), quick_decoder=Greedy())
    listed = str(error.value).partition(" not finite on ")[2].partition(". Look")[0]
    if also or batch_s == 0.1:
        assert listed == marked
    else:
        assert marked in listed.split(", ")


def test_a_task_without_language_has_no_language_figure(manifest: pd.DataFrame) -> None:
    one = recogniser(task=ASR())
    figures = one.validate(dataset(manifest, one), quick_decoder=Greedy())
    assert set(figures) == {"valid_loss", "valid_token_error_rate", "valid_silly_error_rate"}
    # "A B": the spoken [eng] <space> are 2 insertions; c: 1 deletion; ...
    assert figures["valid_token_error_rate"] == pytest.approx((2 + 2 + 1 + 3 + 2 + 2) / (3 + 2 + 1 + 1 + 2 + 1))


def test_a_language_that_training_did_not_have_is_always_wrong(manifest: pd.DataFrame) -> None:
    """Its target is no class at all, so nothing that is decoded may count as right."""
    one = recogniser(task=LID(), tokens=["[eng]"])
    figures = one.validate(dataset(manifest, one), quick_decoder=FirstClass())
    assert figures["valid_lid_error_rate"] == figures["valid_token_error_rate"] == 3 / 6


class FirstClass(Argmax):
    """Says the first class of everything."""

    def __call__(self, log_probs_BFV: Tensor, lengths_B: Tensor, attention: Any = None) -> list[Decoded]:
        return [Decoded([0], 0.0) for _ in lengths_B]


def test_texts_without_any_token_can_be_validated(manifest: pd.DataFrame) -> None:
    """A transcript may be nothing but punctuation, and a model may say nothing to it."""
    one = recogniser(task=ASR(), batch_s=100.0)
    silent = manifest.iloc[[2]].assign(text="?!")
    figures = one.validate(dataset(silent, one), quick_decoder=Greedy())
    assert figures == {"valid_loss": 0.0, "valid_token_error_rate": 0.0, "valid_silly_error_rate": 1.0}


@pytest.mark.parametrize("batch_s", [0.1, 0.5, 100.0])
def test_hypotheses_stand_in_the_order_of_the_manifest(manifest: pd.DataFrame, batch_s: float, tmp_path: Path) -> None:
    one = recogniser(batch_s=batch_s)
    path = tmp_path / "hypotheses.jsonl"
    decoded = decode(dataset(manifest, one), path, one).hypotheses
    assert read_hypotheses(path) == decoded
    said = ["[eng] A B", "[eng] AB", "", "[deu] AB", "[deu] CC", "[eng] B"]
    assert [row.hypothesis for row in decoded] == said
    assert [row.predicted_language for row in decoded] == ["eng", "eng", None, "deu", "deu", "eng"]
    for row, (_, expected) in zip(decoded, manifest.iterrows(), strict=True):
        assert (row.id, row.reference, row.split) == (expected["id"], expected["text"], expected["split"])
        assert (row.language, row.audio, row.duration_s) == (
            expected["language"], expected["audio"], expected["duration_s"]
        )  # fmt: skip
    assert [file.name for file in tmp_path.glob("*hypotheses*")] == ["hypotheses.jsonl"]


def test_the_model_works_on_a_batch_while_the_one_before_it_is_searched(manifest: pd.DataFrame, tmp_path: Path) -> None:
    """On a GPU the model's work is only given out: the search of a batch then goes on beside that of the next one."""
    done: list[str] = []

    class Noted(Greedy):
        def __call__(self, log_probs_BFV: Tensor, lengths_B: Tensor, attention: Any = None) -> list[Decoded]:
            done.append("search")
            return super().__call__(log_probs_BFV, lengths_B)

    one = recogniser(decoder=Noted(), batch_s=0.1)
    one.model.encode = lambda batch: done.append("model") or Levels.encode(one.model, batch)  # type: ignore
    decode(dataset(manifest, one), tmp_path / "hypotheses.jsonl", one)
    assert done == ["model", *["model", "search"] * 5, "search"]


class Killed(BaseException):
    """Stands for SIGKILL."""


class DyingGreedy(Greedy):
    """Counts utterances, and dies at the given batch."""

    def __init__(self, at_batch: int | None = None) -> None:
        self.left, self.num_decoded = at_batch, 0

    def __call__(self, log_probs_BFV: Tensor, lengths_B: Tensor, attention: Any = None) -> list[Decoded]:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise Killed
        self.num_decoded += len(lengths_B)
        return super().__call__(log_probs_BFV, lengths_B)


def cut_nothing(text: str) -> str:
    return text


def cut_last_line(text: str) -> str:
    return text[:-20]


def cut_to_half_a_line(text: str) -> str:
    return text[:30]


@pytest.mark.parametrize("cut", [cut_nothing, cut_last_line, cut_to_half_a_line])
def test_an_interrupted_decoding_goes_on_where_it_was(
    manifest: pd.DataFrame, cut: Callable[[str], str], tmp_path: Path
) -> None:
    whole = recogniser()
    decode(dataset(manifest, whole), tmp_path / "whole.jsonl", whole)
    path, partial = tmp_path / "hypotheses.jsonl", tmp_path / "hypotheses.jsonl.partial"
    dying = recogniser(decoder=DyingGreedy(at_batch=2))
    with pytest.raises(Killed):
        decode(dataset(manifest, dying), path, dying)
    text = partial.read_text(encoding="utf-8")
    assert not path.exists()
    assert 1 < text.count("\n") == dying.decoder.num_decoded < 6  # type: ignore[attr-defined]
    partial.write_text(cut(text), encoding="utf-8")
    resumed = recogniser(decoder=DyingGreedy())
    decode(dataset(manifest, resumed), path, resumed)
    assert path.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    if cut is cut_nothing:
        assert resumed.decoder.num_decoded == 6 - text.count("\n")  # type: ignore[attr-defined]
    assert not partial.exists()


def test_a_line_may_be_cut_within_a_letter(manifest: pd.DataFrame, tmp_path: Path) -> None:
    one = recogniser(batch_s=100.0)
    texts = manifest.assign(text="жжжж")
    decode(dataset(texts, one), tmp_path / "whole.jsonl", one)
    lines = (tmp_path / "whole.jsonl").read_bytes().splitlines(keepends=True)
    cut = lines[1][: lines[1].index("ж".encode()) + 1]
    (tmp_path / "hypotheses.jsonl.partial").write_bytes(lines[0] + cut)
    decode(dataset(texts, one), tmp_path / "hypotheses.jsonl", one)
    assert (tmp_path / "hypotheses.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_a_decoding_may_be_interrupted_again_and_again(
    manifest: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch of which a line was lost is decoded again; its other lines must not stand there twice."""
    one = recogniser(batch_s=100.0)
    decode(dataset(manifest, one), tmp_path / "whole.jsonl", one)
    path, partial = tmp_path / "hypotheses.jsonl", tmp_path / "hypotheses.jsonl.partial"
    partial.write_bytes((tmp_path / "whole.jsonl").read_bytes()[:-5])
    monkeypatch.setattr(decoding, "write_hypotheses", die)
    with pytest.raises(Killed):
        decode(dataset(manifest, one), path, one)
    monkeypatch.undo()
    assert len(read_hypotheses(partial)) == 6
    decode(dataset(manifest, one), path, one)
    assert path.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def die(*_: object) -> None:
    raise Killed


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_while_decoding_names_the_file(
    manifest: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, path = recogniser(), tmp_path / "hypotheses.jsonl"
    open_file, opened = Path.open, os.open

    def open_full(self: Path, mode: str = "r", **settings: Any) -> Any:
        is_full = full and mode == "wb" and self.name.startswith(full)
        return open_file(Path("/dev/full") if is_full else self, mode, **settings)

    def os_open_full(name: Any, flags: int, *rest: Any, **settings: Any) -> int:
        is_full = full and Path(name).name == full
        return opened("/dev/full", os.O_WRONLY) if is_full else opened(name, flags, *rest, **settings)

    monkeypatch.setattr(Path, "open", open_full)
    monkeypatch.setattr(os, "open", os_open_full)
    for full in ("hypotheses.jsonl.partial", ".hypotheses.jsonl."):  # noqa: B007 (read by `open_full`)
        with pytest.raises(OSError, match=r"hypotheses\.jsonl.*free some space") as raised:
            decode(dataset(manifest, one), path, one)
        assert raised.value.errno == errno.ENOSPC
        assert not path.exists()
    full = ""
    decode(dataset(manifest, one), path, one)
    assert len(read_hypotheses(path)) == 6


def test_batches_of_a_real_model_do_not_touch_each_other(tmp_path: Path) -> None:
    """Tiny HuBERT, head, CTC with random weights: alone or together, an utterance gives the same text and figures."""
    config = compose(
        ["+exp=v1/asr_lid", "data=synthetic", "upstream=tiny", "head.size=32", "head.num_heads=2", "decoding=greedy"]
    )
    torch.manual_seed(0)
    model = build.build_model(config, vocab_size=len(TOKENS)).eval()
    rng = np.random.default_rng(0)
    rows = []
    for number, duration_s in enumerate([0.4, 1.7, 0.9, 2.0, 0.6]):
        soundfile.write(tmp_path / f"{number}.wav", rng.normal(0, 0.1, round(duration_s * 16_000)), 16_000)
        rows.append(
            Utterance(
                id=str(number),
                audio=str(tmp_path / f"{number}.wav"),
                start_s=0.0,
                duration_s=duration_s,
                text="a",
                language="eng",
                dataset="d",
                split="test",
            )
        )
    found, figures = [], []
    for batch_s in (0.1, 100.0):
        one = recogniser(batch_s=batch_s)
        one.model = model
        data = dataset(to_frame(rows), one)
        decode(data, tmp_path / f"{batch_s}.jsonl", one)
        found.append((tmp_path / f"{batch_s}.jsonl").read_text(encoding="utf-8"))
        figures.append(one.validate(data, quick_decoder=Greedy()))
    assert found[0] == found[1]
    assert figures[0] == pytest.approx(figures[1], rel=1e-4)
    assert any(json.loads(line)["hypothesis"] for line in found[0].splitlines())
