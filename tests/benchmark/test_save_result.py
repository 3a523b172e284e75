"""What a run writes of itself, and the parts of a user's own that take part in it."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from types import ModuleType, SimpleNamespace

import pytest
import torch
from finished_runs import finished_run, result_of
from rich.console import Console

from mlsuperb.benchmark import result as benchmark_result
from mlsuperb.benchmark.misfits import misfits
from mlsuperb.commands import score, table
from mlsuperb.config.build import instantiate
from mlsuperb.config.check import find_problems
from mlsuperb.config.compose import compose
from mlsuperb.pretraining import result as pretraining_result
from mlsuperb.runs import classes, store
from mlsuperb.runs.hypotheses import write_hypotheses
from mlsuperb.runs.result import what_ran
from mlsuperb.runtime.speed import Speed
from mlsuperb.scoring.comparison.runs import runs_table
from mlsuperb.scoring.score import Scoring
from mlsuperb.scoring.scored_run import show, standing, what_was_scored
from mlsuperb.scoring.utterances import utterance_counts
from mlsuperb.tasks.asr import ASR
from mlsuperb.training.progress import Progress
from mlsuperb.types import Utterance

ENVIRONMENT = {"package_version": "0.1", "code": {"commit": "abc", "dirty": False}, "python": "3.11"}


class WordErrorRate:
    """A protocol that is no part of the package: one object."""

    name, version, year = "wer", "1", 2026
    title = "errors of words over reference words"
    headline = summary = {"wer": "WER"}
    meanings = {"wer": "word errors over reference words"}

    def why_not(self, facts):
        return "" if facts.has_text else "needs transcripts"

    def score(self, hypotheses, facts, counts):
        words = replace(facts, units="word", has_language=False)
        (split,) = {one.split for one in hypotheses}
        spoken = [replace(one, hypothesis=one.hypothesis.partition("] ")[2]) for one in hypotheses]
        found = sum(utterance_counts(spoken, words)[1:], utterance_counts(spoken, words)[0])
        return {
            "normaliser": {"name": facts.normaliser, "version": "1"},
            "units": "word",
            "counts": {split: {"all": {"all": found.to_dict(words)}}},
            "metrics": {split: {"wer": {"value": found.error_rate, "better": "lower"}}},
            "per_language": {},
        }


class OwnScoring(Scoring):
    """A user's own class, with a protocol that it always runs."""

    def score(self, hypotheses, facts):
        return Scoring(protocols=[*self.protocols, "own_parts.wer"]).score(hypotheses, facts)


class Words(ASR):
    """A task that is no part of the package: its targets are words."""

    name = "asr_words"

    @property
    def facts(self):
        return replace(super().facts, units="word", unit_name="WER")

    def _units(self, utterance):
        return super().text(super()._units(utterance)).split()

    def text(self, tokens):
        return " ".join(tokens)


@pytest.fixture(autouse=True)
def own_parts(monkeypatch):
    module = ModuleType("own_parts")
    module.wer, module.OwnScoring, module.Words = WordErrorRate(), OwnScoring, Words
    monkeypatch.setitem(sys.modules, "own_parts", module)
    monkeypatch.setattr(classes, "_brought", {f"own_parts.{name}" for name in ("wer", "OwnScoring", "Words")})


def content(config, folder, ones, **data):
    """The file of a run as `save_result` puts it together, without what needs a model."""
    write_hypotheses(folder / "hypotheses.jsonl", ones)
    data = {"name": "d", "splits": {"test": {"sha256": "a", "num_utterances": len(ones)}}, "synthetic": False} | data
    whole = what_ran(config, ENVIRONMENT, job="benchmark")
    whole |= what_was_scored(
        folder, ones, facts=instantiate(config["task"]).facts, scoring=instantiate(config["scoring"])
    )
    return whole | {"data": data} | standing(["no release"], whole, data)


def test_what_a_result_says_of_the_run(tmp_path, utterance):
    ones = [utterance("eng", "abcd", "[eng] ABCX"), utterance("nan", "abcd", "[nan] ABCD")]
    config = compose(["task=asr_lid", "upstream=fbank", "data=synthetic"]) | {"run_id": "r"}
    found = content(config, tmp_path, ones)
    assert (found["job"], found["run_id"], found["status"], found["inputs"]) == ("benchmark", "r", "finished", {})
    assert {"run_id", "scoring", "trainer.device", "loading.num_workers"} <= set(found["not_science"])
    assert found["code"] == {"commit": "abc", "dirty": False, "package_version": "0.1"}
    assert found["env"] == {"python": "3.11"}
    task = {"name": "asr_lid", "units": "char", "has_text": True, "has_language": True, "unit_name": "CER"}
    assert (found["task"], found["normaliser"]) == (task, {"name": "v1", "version": "1"})
    assert found["scorer"]["protocols"] == {"v1": "1", "v2": "1", "challenge": "1", "challenge_server": "2"}
    assert found["hypotheses"]["num_utterances"] == {"test": 2}
    assert len(found["hypotheses"]["sha256"]) == 64


@pytest.mark.parametrize("job", ["benchmark", "pretraining"])
def test_the_peak_of_memory_is_that_of_the_training_where_an_earlier_start_ended_it(job, monkeypatch):
    model, progress = torch.nn.Linear(1, 1), Progress(memory_gb=12345.678)
    monkeypatch.setattr(benchmark_result, "macs_per_second", lambda _: None)
    if job == "benchmark":
        cost = benchmark_result._cost(progress, Speed(), model)
    else:
        cost = pretraining_result._cost(SimpleNamespace(model=model), progress)
    assert cost["peak_memory_gb"] == pytest.approx(12345.68)


def test_what_speaks_against_an_official_result(tmp_path, utterance):
    ones = [utterance("eng", "abcd", "ABCX"), utterance("eng", "abcd", "ABCX", split="more")]
    splits = {name: {"num_utterances": number} for name, number in (("train", 9), ("test", 3), ("dev_dialect", 4))}
    config = compose(["task=asr", "upstream=fbank", "data=synthetic"]) | {"run_id": "r"}
    found = content(config, tmp_path, ones)
    found["code"]["dirty"] = True
    found_standing = standing(["no release"], found, {"synthetic": True, "splits": splits})
    assert (found_standing["official"], found_standing["synthetic"]) == (False, True)
    assert found_standing["not_official_because"] == [
        "no release",
        "synthetic data",
        "the code was changed since its commit",
        "split test: 1 hypotheses for 3 utterances",
        "split dev_dialect: 0 hypotheses for 4 utterances",
        "split more: 1 hypotheses for 0 utterances",
    ]
    good = {"synthetic": False, "splits": {"test": {"num_utterances": 1}, "more": {"num_utterances": 1}}}
    found["code"]["dirty"] = None  # an installed package
    assert standing([], found, good) == {"official": True, "not_official_because": [], "synthetic": False}


def test_a_users_own_scoring_and_protocol_are_run_and_shown(tmp_path, utterance, capsys):
    ones = [utterance("eng", "one two", "[eng] ONE TOO"), utterance("eng", "three four", "[eng] THREE FOUR")]
    config = compose(["task=asr_lid", "upstream=fbank", "data=synthetic", "scoring.protocols=[v1]"])
    config |= {"run_id": "r", "scoring": config["scoring"] | {"_target_": "own_parts.OwnScoring"}}
    assert find_problems(config) == []
    found = content(config, tmp_path, ones)
    assert list(found["protocols"].sections) == ["v1", "wer"]
    folder = finished_run(
        tmp_path / "exp" / "r", wrong=0, seed=0, protocols=found["protocols"].model_dump(exclude_unset=True)
    )
    stored = json.loads((folder / "result.json").read_text())["protocols"]["wer"]
    assert stored["metrics"] == {"test": {"wer": {"value": 25.0, "better": "lower"}}}
    table.main([str(folder.parent), "--protocol", "wer"])
    shown = capsys.readouterr().out
    assert "protocol wer" in shown
    assert "wer ↓" in shown
    assert "25.0" in shown
    with pytest.raises(ValueError, match="no run was scored with xer; there are v1, wer"):
        table.main([str(folder.parent), "--protocol", "xer"])
    score.main([str(folder), "--protocol", "own_parts.wer"])
    shown = capsys.readouterr().out
    assert "Protocol wer (version 1)" in shown
    assert "WER % ↓" in shown


def test_scoring_that_says_nothing_of_the_task_is_a_misfit():
    config = compose(["task=lid", "upstream=fbank", "data=synthetic", "scoring.protocols=[v2,own_parts.wer]"])
    (problem,) = misfits(config, ["head", "objective", "decoding", "task", "scoring"])
    assert problem.startswith("scoring=default cannot score task=lid: v2 needs transcripts, task lid has none; wer")
    (problem,) = find_problems(config | {"scoring": config["scoring"] | {"protocols": ["v1", "v3"]}})
    assert problem.startswith("scoring.protocols: there is no protocol 'v3'; nearest: ")


def test_a_new_task_is_scored_tabulated_and_shown_from_its_facts(tmp_path, utterance, capsys):
    task = Words()
    spoken = Utterance(
        id="a",
        audio="a.wav",
        start_s=0.0,
        duration_s=1.0,
        text="One,  two!",
        language="eng",
        dataset="d",
        split="train",
    )
    assert task.target(spoken) == ["ONE", "TWO"]
    assert task.text(task.target(spoken)) == "ONE TWO"
    ones = [utterance("eng", "one two", "ONE TOO"), utterance("eng", "three four five", "THREE FOUR FIVE")]
    config = compose(["task=asr", "upstream=fbank", "data=synthetic"]) | {"run_id": "r"}
    config["task"] = config["task"] | {"_target_": "own_parts.Words", "name": "asr_words"}
    found = content(config, tmp_path, ones)
    assert found["task"] == {
        "name": "asr_words",
        "units": "word",
        "has_text": True,
        "has_language": False,
        "unit_name": "WER",
    }
    protocols = found["protocols"]
    assert protocols.not_applicable["v2"] == "counts characters, this task has words"
    result = result_of(ones, task.facts)
    assert result.facts == task.facts
    assert result.protocols.sections["v1"].metrics["test"]["trained_wer"].value == 20.0
    cells = runs_table([result])
    assert dict(zip(cells.columns, cells.rows[0], strict=True))["trained_wer ↓"] == "20.0"
    store.write(tmp_path, result)
    table.show_runs([tmp_path], by="language")
    show(tmp_path, Console())
    shown = capsys.readouterr().out
    assert "WER ↓, r" in shown
    assert "hypothesis  ONE {TOO}" in shown
    score.main([str(tmp_path)])
    assert "task asr_words, normaliser v1, units word" in capsys.readouterr().out
