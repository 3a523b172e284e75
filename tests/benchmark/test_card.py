from __future__ import annotations

import copy
import errno
import json
import logging
from pathlib import Path
from typing import Any

import hub_rules
import pytest
import yaml
from finished_runs import built, scored, write_built
from huggingface_hub import ModelCard, metadata_load

from mlsuperb.benchmark import card
from mlsuperb.benchmark import result as summary
from mlsuperb.benchmark.card import eval_results, model_card, write_card
from mlsuperb.commands.export import main
from mlsuperb.runs import store
from mlsuperb.runs.hypotheses import read_hypotheses, write_hypotheses
from mlsuperb.scoring.result import BenchmarkResult
from mlsuperb.types import Hypothesis

HUBERT = {
    "name": "hubert_base",
    "card": {"pretrained_on": ["LibriSpeech"]},
    "settings": {"checkpoint": "facebook/hubert-base-ls960"},
    "loaded": {
        "checkpoint": "facebook/hubert-base-ls960",
        "commit": "dba3bb02fda4248b6e082697eee756de8fe8aa8a",
        "sha256": None,
    },
}
SPOKEN = [
    ("eng", "fleurs", "good day", "[eng] GOOD DAY"),
    ("eng", "mls", "good day", "[eng] GOOD DA"),
    ("org_jpn", "commonvoice", "abcd", "[jpn] ABCD"),
    ("dan", "fleurs", "abcd", "[dan] ABXX"),
]


def write(folder: Path, result: dict[str, Any]) -> None:
    store.write(folder, BenchmarkResult.model_validate(result))


def card_of(result: dict[str, Any]) -> str:
    read = BenchmarkResult.model_validate(result)
    return model_card(read, run="RUN", training=read)


@pytest.fixture
def result(tmp_path: Path) -> dict[str, Any]:
    """A result of ASR+LID on four languages, a few-shot one among them."""
    ones = [
        Hypothesis(
            id=f"{dataset}_{language[-3:]}_{number:06d}", dataset=dataset, language=language, split="test", audio="a.wav",
            start_s=0.0, duration_s=1.0, reference=reference, hypothesis=said, predicted_language=said[1:4],
        )
        for number, (language, dataset, reference, said) in enumerate(SPOKEN)
    ]  # fmt: skip
    write_hypotheses(tmp_path / "hypotheses.jsonl", ones)
    content = built(
        ones,
        "asr_lid",
        run_id="hubert_base-frozen-1a2b3c4d",
        data={
            "name": "ml_superb_10min",
            "synthetic": False,
            "release": {"name": "8th", "whole": False, "why": "4 of 143 languages"},
            "languages": {"train": ["dan", "eng", "org_jpn"], "test": ["dan", "eng", "org_jpn"]},
            "splits": {
                "train": {"sha256": "1:" + "1" * 64, "num_utterances": 500, "duration_s": 1800.0},
                "test": {"sha256": "1:" + "2" * 64, "num_utterances": 4, "duration_s": 4.0},
            },
            "skipped": {"over 20 s": {"count": 3, "splits": {"train": 3}, "examples": ["a", "b", "c"]}},
        },
        upstream=HUBERT,
        adaptation={"name": "frozen", "card": {}, "settings": {}},
        head={"name": "transformer", "card": {}, "settings": {}},
        num_trainable=4_700_000,
        num_total=99_000_000,
        config={
            "seed": 7,
            "head": {"name": "transformer", "_target_": "x.Transformer", "size": 256},
            "trainer": {
                "name": "ml_superb_multi",
                "device": "auto",
                "optimizer": {"_target_": "torch.optim.Adam", "lr": 1e-4},
            },
            "data": {"name": "ml_superb_10min", "root": "/home/someone/corpus"},
        },
        seed=7,
        code={"commit": "c0ffee" * 6 + "abcd", "dirty": False, "package_version": "0.1"},
        training={"num_unaligned": 2},
        cost={"iterations": 300_000, "train_wall_s": 7200.0, "peak_memory_gb": 9.5},
        date="2026-01-01T00:00:00+00:00",
        benchmark={"experiment": "v1/asr_lid", "track": "asr_lid", "size": "10min", "run": None, "deviations": {}},
        official=False,
        not_official_because=["the release is not whole"],
    )  # fmt: skip
    write_built(tmp_path, content)
    return content


def test_the_card_parses_back_as_the_hub_reads_it(result: dict[str, Any], tmp_path: Path) -> None:
    path = write_card(tmp_path)
    read = ModelCard(path.read_text(encoding="utf-8"))
    assert hub_rules.problems(path.read_text(encoding="utf-8")) == []
    assert read.data.language == ["da", "en", "ja"]
    assert read.data.library_name == "mlsuperb"
    assert read.data.pipeline_tag == "automatic-speech-recognition"
    assert read.data.base_model == "facebook/hubert-base-ls960"
    assert read.data.datasets is None  # the release is not whole
    assert read.data.metrics == ["cer", "accuracy"]
    assert read.data.license is None
    assert {"mlsuperb", "asr_lid", "hubert_base", "frozen"} <= set(read.data.tags)
    assert metadata_load(path)["model-index"][0]["name"] == "hubert_base-frozen-1a2b3c4d"


@pytest.mark.parametrize(
    ("data", "dataset", "name"),
    [
        ({"release": {"name": "8th", "whole": True}}, "ftshijt/mlsuperb_8th", "ml_superb_10min"),
        ({"release": {"name": "8th", "whole": False}}, None, "ml_superb_10min (not the whole 8th release)"),
        (
            {"name": "ml_superb_hf", "release": {"name": "challenge", "whole": True}},
            "espnet/ml_superb_hf",
            "ml_superb_hf",
        ),
        (
            {"name": "ml_superb_hf", "release": {"name": "challenge", "whole": False}},
            None,
            "ml_superb_hf (not the whole challenge release)",
        ),
        ({"name": "ml_superb_hf", "release": None}, None, "ml_superb_hf"),
        ({"name": "table", "release": None}, None, "table"),
    ],
)
def test_only_a_whole_release_is_named_as_the_hubs(
    result: dict[str, Any], data: dict[str, Any], dataset: str | None, name: str
) -> None:
    """A part of one, or what shares two folders with it, would stand there as a score on the benchmark's data."""
    read = ModelCard(card_of(result | {"data": result["data"] | data}))
    assert read.data.datasets == ([dataset] if dataset else None)
    found = {(one.dataset_type, one.dataset_name) for one in read.data.eval_results}
    assert found == {(dataset or data.get("name", "ml_superb_10min"), name)}


def test_the_model_index_round_trips_with_the_metrics_of_v1(result: dict[str, Any], tmp_path: Path) -> None:
    read = ModelCard(write_card(tmp_path).read_text(encoding="utf-8"))
    assert read.data.model_name == "hubert_base-frozen-1a2b3c4d"
    assert read.data.eval_results == eval_results(BenchmarkResult.model_validate(result))
    found = {(one.dataset_config, one.metric_type): one.metric_value for one in read.data.eval_results}
    metrics = result["protocols"]["v1"]["metrics"]["test"]
    assert found == {
        ("trained", "cer"): round(metrics["trained_cer"]["value"], 2),
        ("trained", "accuracy"): round(metrics["trained_lid_accuracy"]["value"], 2),
        ("reserved", "cer"): 40.0,  # " ABXX" for " ABCD": 2 of 5
        ("reserved", "accuracy"): 100.0,
    }
    assert all("protocol v1" in one.metric_name for one in read.data.eval_results)
    assert ModelCard(str(read)).data.to_dict() == read.data.to_dict()


def test_the_text_says_what_one_needs_to_know(result: dict[str, Any]) -> None:
    text = card_of(result).partition("\n---\n")[2]
    for expected in (
        "`hubert_base` (`facebook/hubert-base-ls960`, dba3bb02",
        "4,700,000 of 99,000,000 parameters were trained",
        "Languages seen in training (3): Danish (`dan`), English (`eng`), Japanese",
        "LibriSpeech; by their names, none of the test corpora",
        "mlsuperb transcribe RUN recording.wav",
        "fetched from the hub",
        "`v1` (ML-SUPERB 1.0: all utterances pooled)",
        "| eng | mls | 1 |",
        "Experiment: `v1/asr_lid`",
        "`ml_superb_10min`, not the whole release 8th: train 500 utterances (0.50 h",
        "Seed 7, code c0ffeec0ffee",
        "trainer: `ml_superb_multi` with optimizer Adam, optimizer.lr 0.0001",
        "3 of the corpus: over 20 s (train 3)",
        "2 training examples had fewer frames than tokens",
        "No, because:\n\n- the release is not whole",
        "`license:`",
    ):
        assert expected in text
    assert "/home/" not in text
    assert "Synthetic" not in text


def test_an_unusual_featurizer_or_objective_is_in_the_first_sentence(result: dict[str, Any]) -> None:
    def first(**chosen: str) -> str:
        parts = {kind: {"name": name} for kind, name in chosen.items()}
        text = card_of(result | {"config": result["config"] | parts})
        return text.partition("A model that ")[2].partition(". ")[0]

    assert first().endswith("adaptation `frozen`")
    assert first(featurizer="weighted_sum", objective="ctc") == first()
    found = first(featurizer="weighted_sum_per_dimension", objective="ctc_dro")
    assert found == f"{first()}, featurizer `weighted_sum_per_dimension`, objective `ctc_dro`"


def test_synthetic_data_are_the_first_thing_said(result: dict[str, Any]) -> None:
    made = copy.deepcopy(result) | {"synthetic": True}
    text = card_of(made)
    first = text.partition("\n---\n")[2].split("\n\n")[1]
    assert first == "**Synthetic data: these numbers say nothing about real speech.**"
    limits = text.partition("## Limits")[2].strip()
    assert limits.startswith("- The speech was made by a synthesiser")
    data = ModelCard(text).data
    assert data.datasets is None
    assert "synthetic-data" in data.tags
    assert "synthetic" in data.eval_results[0].dataset_name


def test_an_upstream_of_another_run_names_it(result: dict[str, Any]) -> None:
    origin = {
        "run_id": "tiny-full-0a0a", "adaptation": "full", "pretrained_on": [],
        "data": {"name": "shared_speech", "synthetic": False, "languages": ["deu", "fra"]},
    }  # fmt: skip
    loaded = {"checkpoint": "/tmp/somewhere/export", "commit": None, "sha256": {"model.safetensors": "ab" * 32}}
    loaded["exported_from"] = origin
    built = result | {"upstream": {"name": "hf", "card": {"pretrained_on": None}, "loaded": loaded}}
    text = card_of(built)
    assert "(`export`, model.safetensors sha256 abababababab, exported from the run `tiny-full-0a0a`)" in text
    assert "shared_speech, languages deu, fra, in the run `tiny-full-0a0a`; before that: none." in text
    assert "/tmp/" not in text
    assert ModelCard(text).data.base_model is None


def test_an_evaluation_says_what_the_run_was_trained_on(result: dict[str, Any], tmp_path: Path) -> None:
    folder = tmp_path / "evaluations" / "other-12345678"
    folder.mkdir(parents=True)
    data = result["data"] | {"name": "table", "release": None, "languages": {"train": ["fin"], "test": ["fin"]}}
    write_built(folder, result | {"data": data})
    text = write_card(folder).read_text()
    assert "# hubert_base-frozen-1a2b3c4d on table" in text
    assert "Languages seen in training (3): Danish" in text
    assert f"mlsuperb transcribe {tmp_path.name} recording.wav" in text
    assert "Data: `ml_superb_10min`" in text
    (tmp_path / "result.json").unlink()  # as of an imported model
    text = write_card(folder).read_text()
    assert "Not trained here: an imported model" in text
    assert "Which languages it was trained on is not recorded" in text


@pytest.mark.parametrize(
    ("task", "pipeline"), [("lid", "audio-classification"), ("asr", "automatic-speech-recognition")]
)
def test_other_tasks(result: dict[str, Any], task: str, pipeline: str, tmp_path: Path) -> None:
    ones = read_hypotheses(tmp_path / "hypotheses.jsonl")
    changed = result | {"task": {"name": task, "units": "char"}, "protocols": scored(ones, task)}
    data = ModelCard(card_of(changed)).data
    assert data.pipeline_tag == pipeline
    assert data.metrics == (["accuracy"] if task == "lid" else ["cer"])


def test_a_card_that_cannot_be_written_leaves_a_finished_run(
    result: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(path: Path, pieces: object) -> None:
        raise OSError(errno.ENOSPC, f"could not write {path}: No space left on device")

    monkeypatch.setattr(card, "write_atomic", full)
    with caplog.at_level(logging.WARNING):
        summary.save_card(tmp_path)
    assert "no model card" in caplog.text
    assert "No space left" in caplog.text
    assert not (tmp_path / "README.md").exists()
    monkeypatch.undo()
    main(["card", str(tmp_path)])
    assert yaml.safe_load((tmp_path / "README.md").read_text().split("---\n")[1])["library_name"] == "mlsuperb"
    assert json.loads((tmp_path / "result.json").read_text())["run_id"] == "hubert_base-frozen-1a2b3c4d"
