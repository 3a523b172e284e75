"""What is built from a configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from mlsuperb.benchmark import build
from mlsuperb.config.compose import compose
from mlsuperb.runs.run import Run


@pytest.mark.parametrize("adaptation", ["lora", "houlsby", "pfeiffer"])
def test_an_adaptation_leaves_the_start_of_the_others_alone(adaptation: str) -> None:
    """Else a comparison of adaptations under one seed would compare heads."""
    heads = []
    for name in ("frozen", adaptation):
        torch.manual_seed(0)
        model = build.build_model(compose(["upstream=tiny", f"adaptation={name}"]), vocab_size=10)
        heads.append({**model.head.state_dict(), **model.objective.state_dict(), **model.featurizer.state_dict()})
    assert len(heads[0]) > 20
    assert all(torch.equal(heads[0][name], heads[1][name]) for name in heads[0])


@pytest.fixture
def data(tmp_path: Path) -> Any:
    """Makes the data of a run of a task: three utterances of 0.5 s, one of which is silent once normalised, and one of 0.1 s."""
    soundfile.write(tmp_path / "a.wav", np.zeros(8000), 16_000)
    rows = [("ab", ""), ("...!?", ""), ("ac", ""), ("xy", "0.1")]
    lines = [
        "audio\ttext\tduration_s\tid",
        *(f"a.wav\t{text}\t{length}\tu{n}" for n, (text, length) in enumerate(rows)),
    ]
    (tmp_path / "t.tsv").write_text("\n".join(lines) + "\n")
    tables = [f"data.{split}={tmp_path / 't.tsv'}" for split in ("train", "dev", "test")]

    def made(task: str) -> build.Data:
        config = compose(["data=table", *tables, "data.language=deu", f"task={task}", f"manifests={tmp_path / 'm'}"])
        run = Run({"run_id": task, "output_root": tmp_path})
        run.folder.mkdir(exist_ok=True)
        return build.build_data(config, run=run)

    return made


def test_one_language_is_warned_of_where_the_task_names_languages(data: Any, caplog: pytest.LogCaptureFixture) -> None:
    data("asr")
    assert "one language" not in caplog.text
    data("lid")
    assert "in one language (deu), so a model of task=lid gives that language to any speech" in caplog.text


def test_a_joint_task_trains_on_the_language_of_silent_texts(data: Any) -> None:
    joint = data("asr_lid")
    tokens, known = joint.vocabulary.tokens, [joint.train[place].target.tolist() for place in range(len(joint.train))]
    assert [joint.train.utterance(place).id for place in range(len(joint.train))] == ["u0", "u1", "u2"]
    assert [tokens[index] for index in known[1]] == ["[deu]"]
    assert [tokens[index] for index in known[0]] == ["[deu]", "<space>", "A", "B"]
    assert len(joint.dev) == 3
    assert build.EMPTY_AFTER not in joint.record["skipped"]
    asr = data("asr")
    assert [asr.languages, joint.languages] == [("deu",)] * 2
    assert [asr.train.utterance(place).id for place in range(len(asr.train))] == ["u0", "u2"]
    assert asr.record["skipped"][build.EMPTY_AFTER]["splits"] == {"train": 1, "dev": 1}


@pytest.mark.parametrize("task", ["asr", "asr_lid", "lid"])
def test_the_vocabulary_is_counted_before_short_utterances_are_dropped(data: Any, task: str) -> None:
    """As in ESPnet, where stage 4 drops them after the tokens were listed (and X and Y are tokens that nothing trains)."""
    found = data(task)
    texts = [
        "<blank>",
        "<unk>",
        *(["[deu]", "<space>"] if task == "asr_lid" else []),
        "A",
        "B",
        "C",
        "X",
        "Y",
        "<sos/eos>",
    ]
    assert found.vocabulary.tokens == (["<blank>", "<unk>", "[deu]", "<sos/eos>"] if task == "lid" else texts)
    assert (tmp_skip := found.record["skipped"]["not longer than min_duration_s"])["splits"] == {"train": 1, "dev": 1}
    assert "texts" not in tmp_skip


def test_a_run_does_not_go_on_with_other_tokens(data: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after an update that cuts texts otherwise: the output layer that was trained so far has other rows."""
    data("asr")
    data("asr")
    built = build.Vocabulary.build
    monkeypatch.setattr(build.Vocabulary, "build", lambda targets, **options: built([["A"], ["Z"]], **options))
    with pytest.raises(ValueError, match="the tokens of this run changed since it was started"):
        data("asr")


def test_a_run_does_not_go_on_with_other_data(data: Any, tmp_path: Path) -> None:
    data("asr")
    table = tmp_path / "t.tsv"
    table.write_text(table.read_text().replace("ab", "abba"))
    with pytest.raises(ValueError, match="the data of this run changed since it was started"):
        data("asr")
