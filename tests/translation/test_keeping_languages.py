"""Against forgetting: old languages replayed, and what matters for them held."""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from dying_run import dies
from tiny_runs import run, trained, words_of

from mlsuperb.config.build import instantiate
from mlsuperb.config.check import find_problems
from mlsuperb.config.compose import compose
from mlsuperb.pretraining.job import Pretraining
from mlsuperb.runs.hypotheses import read_hypotheses
from mlsuperb.runs.store import read
from mlsuperb.scoring.result import TranslationResult
from mlsuperb.translation.build import build_recogniser
from mlsuperb.translation.data import Data, batches_of, build_data
from mlsuperb.translation.job import Translation
from mlsuperb.translation.preservation import ElasticWeights
from mlsuperb.translation.recogniser import TranslationRecogniser

QUICK = (
    "search.num_beams=1", "loading.train.max_batch_s=4", "adaptation.width=4", "trainer.optimizer.lr=1e-2",
    "trainer.schedule.updates=1", "loading.train.jitter=0",
)  # fmt: skip
EWC = ("preservation.languages=[deu]", "preservation.num_utterances=6")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noises with transcripts in the layout of ML-SUPERB: three times as much German as Swahili to train on."""
    root, rng = tmp_path_factory.mktemp("tree"), np.random.default_rng(0)
    for language, num_train in (("deu", 18), ("swa", 6)):
        folder = root / "a" / language
        (folder / "wav").mkdir(parents=True)
        for split, num in (("train", num_train), ("dev", 2), ("test", 1)):
            lines = []
            for number in range(num):
                name = f"{language}_{split}_{number}"
                soundfile.write(
                    folder / "wav" / f"{name}.wav", 0.1 * rng.standard_normal(8000 + 1000 * (number % 6)), 16000
                )
                lines.append(f"{name}\tx\tguten Tag")
            (folder / f"transcript_10min_{split}.txt").write_text("\n".join(lines) + "\n")
    return root


def words(checkpoint: Path, tree: Path, out: Path, exp: str, *more: str) -> list[str]:
    return words_of(checkpoint, tree, out, *QUICK, *more, experiment=f"+exp=seamless/{exp}")


def built(overrides: list[str]) -> tuple[dict[str, Any], TranslationRecogniser, Data]:
    config = compose(overrides)
    recogniser = build_recogniser(config, parts=["speech"])
    return config, recogniser, build_data(config, recogniser.model.translator)


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_a_share_of_the_speech_is_of_old_languages(checkpoint: Path, tree: Path, tmp_path: Path, share: float) -> None:
    """By what batches hold, in seconds; the corpus has three quarters of old speech."""
    more = ("loading.sampling.new=[swa]", f"loading.sampling.share={share}")
    _, _, data = built(words(checkpoint, tree, tmp_path, "replay", *more))
    seconds: Counter[str] = Counter()
    for batch, _ in zip(batches_of(data, seed=0)(0), range(600), strict=False):
        for language, length in zip(batch.languages, batch.lengths_B.tolist(), strict=True):
            seconds[language] += length
    assert seconds["deu"] / seconds.total() == pytest.approx(share, abs=0.02)
    side = data.sides["speech"]
    assert set(side.train.languages) == {"deu", "swa"}
    assert set(side.dev.languages) == {"swa"}, "the new language alone decides"
    assert set(data.test["language"]) == {"deu", "swa"}


def test_replay_trains_and_is_tested_on_all(checkpoint: Path, tree: Path, tmp_path: Path) -> None:
    folder = run(words(checkpoint, tree, tmp_path, "replay", "loading.sampling.new=[swa]"))
    assert {one.language for one in read_hypotheses(folder / "hypotheses.jsonl")} == {"deu", "swa"}
    assert read(folder, TranslationResult).training["history"][-1]["valid_speech_loss"] > 0


def test_replay_of_nothing_is_refused(checkpoint: Path, tree: Path, tmp_path: Path) -> None:
    more = ("data.languages=[swa]", "loading.sampling.new=[swa]")
    with pytest.raises(ValueError, match="the training utterances are of swa, so there is nothing to replay"):
        run(words(checkpoint, tree, tmp_path, "replay", *more))


def test_old_speech_is_for_the_consolidation_alone(checkpoint: Path, tree: Path, tmp_path: Path) -> None:
    _, _, data = built(words(checkpoint, tree, tmp_path, "ewc", *EWC))
    side = data.sides["speech"]
    assert set(side.train.languages) | set(side.dev.languages) == {"swa"}
    assert data.old is not None
    assert list(data.old.languages) == ["deu"] * 18
    assert set(data.test["language"]) == {"deu", "swa"}


def test_the_penalty_against_a_computation_by_hand(checkpoint: Path, tree: Path, tmp_path: Path) -> None:
    """Of an adapter at its start: squared gradients of the loss of each old utterance, from the training's own backward pass."""
    more = (*EWC, "preservation.num_utterances=18", "preservation.weight=10")
    config, recogniser, data = built(words(checkpoint, tree, tmp_path, "ewc", *more))
    model, old = recogniser.model, data.old
    assert old is not None
    anchor = instantiate(config["preservation"]).anchor(model, old, loading=recogniser.loading, seed=0)
    assert anchor().item() == 0
    parameters = dict(model.trained())
    squares = {name: torch.zeros_like(one) for name, one in parameters.items()}
    for index in range(len(old)):
        model.zero_grad()
        model(old.collate([old[index]])).loss.backward()
        for name, one in parameters.items():
            assert one.grad is not None
            squares[name] += one.grad.square() / len(old)
    down = [name for name in squares if ".down." in name]
    assert down
    assert all(squares[name].abs().max() == 0 for name in down), (
        "the second map is 0, so that the first has no gradient"
    )
    generator = torch.Generator().manual_seed(0)
    expected = 0.0
    with torch.no_grad():
        for name, one in parameters.items():
            step = torch.randn(one.shape, generator=generator)
            one += step
            expected += 10 / 2 * float((squares[name] * step.square()).sum())
    assert expected > 0
    assert anchor().item() == pytest.approx(expected, rel=1e-4)
    model.penalty = anchor
    result = model(old.collate([old[0]]))
    model.penalty = None
    assert result.loss.item() == pytest.approx(model(old.collate([old[0]])).loss.item() + expected, rel=1e-4)
    held, num = result.rates["preservation"]
    assert float(held / num) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("adaptation", ["length_adaptor", "encoder_adapters"])
def test_consolidation_holds_the_weights(adaptation: str, checkpoint: Path, tree: Path, tmp_path: Path) -> None:
    """What the old languages need hardly moves: of weights that the model had, and of new ones."""

    def of(exp: str, *more: str) -> list[str]:
        given = words(checkpoint, tree, tmp_path, exp, f"adaptation={adaptation}", *more)
        return [one for one in given if adaptation != "length_adaptor" or not one.startswith("adaptation.width")]

    config, recogniser, data = built(of("ewc", *EWC))
    assert data.old is not None
    anchor = ElasticWeights(languages=["deu"], weight=2.0, num_utterances=6).anchor(
        recogniser.model, data.old, loading=recogniser.loading, seed=config["seed"]
    )
    parameters = dict(recogniser.model.trained())
    start = {name: one.detach().clone() for name, one in parameters.items()}

    def distance(folder: Path) -> float:
        """sum F (theta - theta_0)^2: the rise of the loss of old languages, to second order."""
        with torch.no_grad():
            for name, tensor in trained(folder).items():
                parameters[name].copy_(tensor)
        found = anchor().item()
        with torch.no_grad():
            for name, one in parameters.items():
                one.copy_(start[name])
        return found

    free = run(of("asr", "data.languages=[swa]"))
    held = run(of("ewc", *EWC, "preservation.weight=1e9"))
    assert distance(held) < 0.05 * distance(free)
    history = read(held, TranslationResult).training["history"]
    assert all(epoch["train_preservation"] > 0 for epoch in history)
    assert "train_preservation" not in read(free, TranslationResult).training["history"][0]


def test_a_consolidation_that_was_killed_ends_the_same(checkpoint: Path, tree: Path, tmp_path: Path) -> None:
    whole = run(words(checkpoint, tree, tmp_path / "whole", "ewc", *EWC, "preservation.weight=1e4"))
    again = words(checkpoint, tree, tmp_path / "killed", "ewc", *EWC, "preservation.weight=1e4")
    assert dies(again) == -signal.SIGKILL
    resumed = run(again)
    for name in ("model.safetensors", "hypotheses.jsonl"):
        assert (resumed / name).read_bytes() == (whole / name).read_bytes()
    one, other = (read(folder, TranslationResult).training["history"] for folder in (whole, resumed))
    assert one == other


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["preservation.languages=[]"], "preservation.languages is empty"),
        ([*EWC, "train_on=[]"], "preservation=ewc_speech reads speech of old languages, and train_on=[] has none"),
        ([*EWC, "trainer.parallel=fsdp"], "preservation=ewc_speech needs whole parameters on each device"),
    ],
)
def test_what_does_not_go_together_is_refused(
    more: list[str], message: str, checkpoint: Path, tree: Path, tmp_path: Path
) -> None:
    assert message in " ".join(find_problems(compose(words(checkpoint, tree, tmp_path, "ewc", *more))))


def test_each_job_has_its_own_consolidation() -> None:
    config = compose(["+exp=seamless/ewc", "preservation=ewc", "preservation.run=no/run"])
    (problem,) = Translation.misfits(config, Translation.groups)
    assert "preservation=ewc is of another job: choose preservation=ewc_speech" in problem
    config = compose(["+exp=expand/ewc", "upstream.run=no/run", "preservation=ewc_speech"])
    problems = Pretraining.misfits(config, Pretraining.groups)
    assert any("preservation=ewc_speech is of another job: choose preservation=ewc with" in one for one in problems)


def test_languages_without_training_speech_are_named(checkpoint: Path, tree: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"preservation\.languages: data=ml_superb_10min has no training utterance of spa"
    ):
        built(words(checkpoint, tree, tmp_path, "ewc", "preservation.languages=[deu,spa]"))
