"""Runs of job=translation on seconds of speech and a few pairs: by speech, by text, by both, one upon another."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from dying_run import dies
from tiny_runs import run, trained, words_of
from tiny_speech import write_speech

from mlsuperb.config.check import find_problems
from mlsuperb.config.compose import compose
from mlsuperb.runs.hypotheses import read_hypotheses
from mlsuperb.runs.store import read
from mlsuperb.scoring.result import TranslationResult
from mlsuperb.translation.build import build_recogniser, needed_parts
from mlsuperb.translation.data import batches_of, build_data
from mlsuperb.translation.job import Translation
from mlsuperb.translation.recogniser import Encoded, TranslationRecogniser

PAIRS = "source\ttarget\ngood day\tguten Tag\nday\tTag\ngood\tgut\nday day\tTag Tag\n"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noises with transcripts in two languages."""
    return write_speech(tmp_path_factory.mktemp("tree"), ("deu", "swa"))


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    path = tmp_path_factory.mktemp("pairs") / "pairs.tsv"
    path.write_text(PAIRS)
    return [
        "text=tsv",
        f"text.train={path}",
        f"text.dev={path}",
        "text.source_language=eng",
        "text.target_language=deu",
    ]


def words(checkpoint: Path, tree: Path, out: Path, *more: str) -> list[str]:
    return words_of(checkpoint, tree, out, "adaptation.width=4", *more)


def test_speech_trains_the_encoders_adapters_and_nothing_else(checkpoint: Path, tree: Path, tmp_path: Path) -> None:
    folder = run(words(checkpoint, tree, tmp_path))
    names = set(trained(folder))
    assert names
    assert all(
        name.startswith("translator.model.speech_encoder.encoder.layers.") and ".bottleneck." in name for name in names
    )
    result = read(folder, TranslationResult)
    assert result.num_trainable == 2 * (2 * 32 * 4 + 4 + 32), "two layers of two linear maps with biases"
    assert {one.language for one in read_hypotheses(folder / "hypotheses.jsonl")} == {"deu", "swa"}
    assert result.data.splits["test"].num_utterances == 4
    assert "valid_speech_loss" in result.training["history"][-1]


def test_text_trains_the_decoder_that_then_writes_speech(
    checkpoint: Path, tree: Path, pairs: list[str], tmp_path: Path
) -> None:
    more = ("adaptation=decoder_adapters", "adaptation.width=4", "train_on=[text]", "trainer.optimizer.lr=1e-2", *pairs)
    folder = run(words(checkpoint, tree, tmp_path, *more))
    assert all(name.startswith("translator.model.text_decoder.layers.") for name in trained(folder))
    result = read(folder, TranslationResult)
    history = result.training["history"]
    assert history[-1]["valid_text_loss"] < history[0]["train_text_loss"]
    assert result.text["directions"] == ["eng-deu"]
    assert len(read_hypotheses(folder / "hypotheses.jsonl")) == 4


def test_both_take_turns(checkpoint: Path, tree: Path, pairs: list[str], tmp_path: Path) -> None:
    more = (
        "adaptation=decoder_adapters",
        "adaptation.width=4",
        "train_on=[speech,text]",
        "trainer.accumulate=2",
        *pairs,
    )
    history = read(run(words(checkpoint, tree, tmp_path, *more)), TranslationResult).training["history"]
    assert {"train_speech_loss", "train_text_loss", "valid_speech_loss", "valid_text_loss"} <= set(history[-1])


def test_all_of_a_model_that_was_trained_by_both_comes_back(
    checkpoint: Path, tree: Path, pairs: list[str], tmp_path: Path
) -> None:
    more = ("train_on=[speech,text]", "trainer.accumulate=2", *pairs)
    given = [one for one in words(checkpoint, tree, tmp_path, *more) if "width" not in one]
    folder = run([*given, "adaptation=everything", "search.num_translations=0"])
    assert any("text_encoder" in name for name in trained(folder))
    model: Any = Translation().load(folder, device="cpu").model  # type: ignore[attr-defined]
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in trained(folder).items())
    config = compose(words(checkpoint, tree, tmp_path, "start=run", f"start.run={folder}"))
    begun = build_recogniser(config, parts=["speech"]).model.state_dict()
    kept = {name: tensor for name, tensor in trained(folder).items() if "text_encoder" not in name}
    assert any("running_mean" in name for name in kept)
    assert all(torch.equal(begun[name], tensor) for name, tensor in kept.items())


def test_a_training_goes_on_from_another(checkpoint: Path, tree: Path, pairs: list[str], tmp_path: Path) -> None:
    """Text, then speech: the decoder's adapters stay as the text left them, beside those that the speech trains."""
    decoder = ("adaptation=decoder_adapters", "adaptation.width=4")
    text = run(words(checkpoint, tree, tmp_path, *decoder, "train_on=[text]", *pairs))
    speech = run(words(checkpoint, tree, tmp_path, "start=run", f"start.run={text}"))
    assert all("speech_encoder" in name for name in trained(speech))
    model: Any = Translation().load(speech, device="cpu").model  # type: ignore[attr-defined]
    parameters = dict(model.named_parameters())
    for name, tensor in (trained(text) | trained(speech)).items():
        assert torch.equal(parameters[name], tensor), name
    assert read(speech, TranslationResult).inputs["start"].run_id == text.name


@pytest.mark.parametrize("task", ["asr", "asr_lid"])
def test_a_predicted_language_is_part_of_the_text_where_the_task_has_it(
    task: str, checkpoint: Path, tree: Path, tmp_path: Path
) -> None:
    """And is called as the data call it: the model's code for `swa` is `swh`."""
    more = ("train_on=[]", "adaptation=frozen", f"task={task}", "search.language=predicted")
    folder = run([one for one in words(checkpoint, tree, tmp_path, *more) if "width" not in one])
    found = read_hypotheses(folder / "hypotheses.jsonl")
    assert all(one.predicted_language for one in found)
    named = [one.hypothesis.startswith(f"[{one.predicted_language}]") for one in found]
    assert all(named) if task == "asr_lid" else not any(named)
    recogniser = Translation().load(folder, device="cpu")
    translator: Any = recogniser.model.translator  # type: ignore[attr-defined]
    swahili, german = (torch.tensor([translator.prefix(code)]) for code in ("swa", "deu"))
    memory = translator.encode_speech(torch.zeros(1, 8000), torch.tensor([8000]))
    for prefix, label, code in ((swahili, "swa", "swa"), (swahili, "deu", "swh"), (german, "swa", "deu")):
        assert recogniser.texts(Encoded(memory, prefix, (label,)))[0][1] == code


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ((), "task=asr_lid names languages, and search.language=given tells them to the model"),
        (("task=lid",), "task=lid is none of a model that writes text"),
    ],
)
def test_tasks_that_the_search_does_not_fulfil_are_refused(
    settings: tuple[str, ...], named: str, checkpoint: Path, tree: Path, tmp_path: Path
) -> None:
    config = compose(words(checkpoint, tree, tmp_path, "task=asr_lid", *settings))
    assert any(named in one for one in find_problems(config))


def test_a_training_on_text_has_no_speed_in_audio(
    checkpoint: Path, tree: Path, pairs: list[str], tmp_path: Path
) -> None:
    decoder = ("adaptation=decoder_adapters", "adaptation.width=4", "train_on=[text]", "search.num_translations=0")
    cost = read(run(words(checkpoint, tree, tmp_path, *decoder, *pairs)), TranslationResult).cost
    assert cost["train_rtfx"] is None
    assert cost["peak_memory_gb"] > 0


def test_a_model_is_decoded_as_it_is(checkpoint: Path, tree: Path, tmp_path: Path) -> None:
    given = [one for one in words(checkpoint, tree, tmp_path, "train_on=[]", "adaptation=frozen") if "width" not in one]
    result = read(run(given), TranslationResult)
    assert (result.num_trainable, result.cost["iterations"], result.scores) == (0, 0, {})


@pytest.mark.parametrize("train_on", ["[]", "[speech]", "[text]"])
def test_text_is_scored_whatever_was_trained(
    train_on: str, checkpoint: Path, tree: Path, pairs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    adaptation = {"[]": "frozen", "[speech]": "everything", "[text]": "decoder_adapters"}[train_on]
    given = [one for one in words(checkpoint, tree, tmp_path, f"train_on={train_on}", *pairs) if "width" not in one]
    folder = run([*given, f"adaptation={adaptation}", "search.num_translations=3"])
    result = read(folder, TranslationResult)
    low, value, high = (result.scores[f"text_bits_per_character{end}"] for end in ("_low", "", "_high"))
    assert low < value < high
    scored = result.text["scored"]
    assert (scored["split"], scored["num_pairs"], scored["num_characters"]) == ("dev", 4, 9 + 3 + 3 + 7)
    rows = [json.loads(line) for line in (folder / "translations.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["source"] for row in rows] == ["good day", "day", "good"]
    assert "wer_cer" in result.protocols.sections
    Translation().show(folder)
    shown = capsys.readouterr().out
    assert "Parallel text tsv, split dev: 4 pairs" in shown
    assert f"{value:.3f}" in shown
    if train_on == "[speech]":
        assert not any("text_encoder" in name for name in trained(folder)), "it got no gradient"
        Translation().load(folder, device="cpu")


def test_test_pairs_come_before_those_of_validation(checkpoint: Path, tree: Path, tmp_path: Path) -> None:
    path = tmp_path / "test.tsv"
    path.write_text("source\ttarget\nday\tTag\n")
    text = ["text=tsv", f"text.dev={path}", f"text.test={path}", "text.source_language=eng", "text.target_language=deu"]
    given = [one for one in words(checkpoint, tree, tmp_path, "train_on=[]", *text) if "width" not in one]
    config = compose([*given, "adaptation=frozen"])
    data = build_data(config, build_recogniser(config, parts=needed_parts(config)).model.translator)
    assert data.text is not None
    assert (data.text.split, len(data.text.pairs)) == ("test", 1)
    foreign = compose([*given, "adaptation=frozen", "text.target_language=kat"])
    with pytest.raises(ValueError, match="the model has no language 'kat'"):
        build_data(foreign, build_recogniser(foreign, parts=["text"]).model.translator)


def test_a_run_that_was_killed_as_it_translated_ends_the_same(
    checkpoint: Path, tree: Path, pairs: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = (
        "adaptation=decoder_adapters",
        "adaptation.width=4",
        "train_on=[text]",
        "text_loading.eval_batch_s=1",
        *pairs,
    )
    whole = run(words(checkpoint, tree, tmp_path / "whole", *more))
    again = words(checkpoint, tree, tmp_path / "killed", *more)
    translations, calls = TranslationRecogniser.translations, []

    def dying(self: TranslationRecogniser, batch: Any) -> list[str]:
        calls.append(batch.ids)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return translations(self, batch)

    monkeypatch.setattr(TranslationRecogniser, "translations", dying)
    with pytest.raises(KeyboardInterrupt):
        run(again)
    resumed = run(again)
    assert len(calls) == 3 + 2, "two of four were there"
    assert (resumed / "translations.jsonl").read_bytes() == (whole / "translations.jsonl").read_bytes()
    assert read(resumed, TranslationResult).scores == read(whole, TranslationResult).scores


def test_how_many_are_translated_is_no_other_run() -> None:
    one, other, third = (
        compose(["+exp=seamless/text", *more])["run_id"]
        for more in ([], ["search.num_translations=0"], ["search.num_beams=1"])
    )
    assert one == other != third


def test_an_adaptation_that_was_killed_ends_the_same(checkpoint: Path, tree: Path, tmp_path: Path) -> None:
    whole = run(words(checkpoint, tree, tmp_path / "whole"))
    again = words(checkpoint, tree, tmp_path / "killed")
    assert dies(again) == -signal.SIGKILL
    resumed = run(again)
    assert (resumed / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert (resumed / "hypotheses.jsonl").read_bytes() == (whole / "hypotheses.jsonl").read_bytes()


def test_batches_alternate_from_any_iteration() -> None:
    class Numbers:
        def __init__(self, name: str) -> None:
            self.name = name

        def training(self, dataset: Any, *, seed: int) -> Any:
            return lambda start: (f"{self.name}{number}" for number in range(start, 99))

    class Two:
        def __init__(self) -> None:
            self.sides = {name: type("Side", (), {"loading": Numbers(name), "train": None}) for name in ("s", "t")}

    batches: Any = batches_of(Two(), seed=0)  # type: ignore[arg-type]
    whole = [one for one, _ in zip(batches(0), range(8), strict=False)]
    assert whole == ["s0", "t0", "s1", "t1", "s2", "t2", "s3", "t3"]
    for start in range(1, 6):
        assert [one for one, _ in zip(batches(start), range(8 - start), strict=False)] == whole[start:]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["train_on=[]"], "train_on=[] decodes without training: choose adaptation=frozen"),
        (["train_on=[text]"], "train_on has text, but there is no parallel text"),
        (
            ["text=synthetic", "text.target_language=deu", "text_loading=null"],
            "read in batches, but text_loading is null",
        ),
        (["train_on=[songs]"], "train_on=['songs']: give speech, text, or both"),
        (["train_on=[text]", "text=synthetic", "text.target_language=deu"], "the stack encoder would learn nothing"),
        (
            ["train_on=[speech,text]", "text=synthetic", "text.target_language=deu", "trainer.accumulate=2"],
            "train_on has text, of which adaptation=encoder_adapters learns nothing",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(
    more: list[str], message: str, checkpoint: Path, tree: Path, tmp_path: Path
) -> None:
    assert message in " ".join(find_problems(compose(words(checkpoint, tree, tmp_path, *more))))
