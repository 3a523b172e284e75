"""The same settings are the same run in every later version: run ids of all experiments, as they were before there were jobs."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from mlsuperb.config.compose import compose
from mlsuperb.config.options import conf_dir
from mlsuperb.runs.identity import present, science, signature

IDS = json.loads((Path(__file__).parent / "run_ids.json").read_text(encoding="utf-8"))
EXPERIMENTS = {shlex.split(line)[0] for line in IDS}


@pytest.mark.parametrize("experiment", sorted(EXPERIMENTS))
def test_ids_stay(experiment: str) -> None:
    lines = [line for line in IDS if shlex.split(line)[0] == experiment]
    assert len(lines) == 4
    for line in lines:
        name, *overrides = shlex.split(line)
        assert compose([f"+exp={name}", *overrides])["run_id"] == IDS[line], line


def test_ids_on_the_challenges_data() -> None:
    """They are others since the texts are trained on as they are (`task.normaliser=raw`)."""
    ids = {
        "v2/frozen": "mms_1b-frozen-transformer-ctc-asr_lid-ml_superb_hf-s0-ea388a0e",
        "v2/full": "xls_r_300m-full-transformer-ctc-asr_lid-ml_superb_hf-s0-2a87e9db",
    }
    assert {name: compose([f"+exp={name}", "data=ml_superb_hf"])["run_id"] for name in ids} == ids


def test_the_table_has_every_experiment() -> None:
    """A new one is added with the id that it has."""
    folder = conf_dir() / "exp"
    assert {path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.yaml")} == EXPERIMENTS


def test_a_class_that_moved_counts_by_its_first_address() -> None:
    now = compose(["+exp=demo"])
    before = {**now, "featurizer": now["featurizer"] | {"_target_": "mlsuperb.featurizer.WeightedSum"}}
    assert now["featurizer"]["_target_"] == "mlsuperb.heads.featurizer.WeightedSum"
    assert signature(before) == signature(now)
    assert present(before)["featurizer"] == now["featurizer"]


def test_a_run_that_was_taken_in_counts_by_its_folders_name() -> None:
    one, moved, other = (
        {"targets": {"run": folder}, "seed": 0}
        for folder in ("exp/labels-0011aabb", "elsewhere/labels-0011aabb", "exp/labels-99887766")
    )
    assert signature(one) == signature(moved) != signature(other)
    assert science(one)["targets"] == {"run": "labels-0011aabb"}
