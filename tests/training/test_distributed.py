"""The same runs in one process and in two that talk through gloo: the same losses, the same hypotheses, one voice."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from two_ranks import run

TINY = [
    "+exp=demo",
    "data=synthetic",
    "data.languages=[deu,swa]",
    "data.minutes=0.3",
    "data.test_minutes=0.1",
    "upstream=tiny",
    "upstream.initializer_range=0.125",  # with less, adapted blocks change little
    "head=transformer_small",
    "head.size=32",
    "head.ffn_size=32",
    "head.num_blocks=1",
    "specaug=none",
    "loading.train.max_batch_size=4",
    "loading.eval_batch_s=6",  # several batches of inference
    "trainer=debug",  # 4 iterations in 2 epochs, a checkpoint after each
    "trainer.trackers=[]",
    # Adam divides a gradient by its own size, so that the last bits of one that is all but 0 would steer a whole step
    "+trainer.optimizer.eps=1e-3",
    "trainer.optimizer.lr=1e-2",
]
FROZEN = ["head=conformer_small", "head.conv_kernel=3"]  # its batch norm counts the frames of all ranks
LORA = ["adaptation=lora", "trainer.accumulate=2", "+trainer.unfreeze_after.upstream=1"]
FULL = ["adaptation=full"]
ODD = ["loading.train.max_batch_size=1", *FROZEN]  # one rank goes empty-handed


RANDOM = ["specaug=light", "head.dropout=0.3"]


class Runs:
    """Arguments for `run`, in a folder for each way of running it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def arguments(self, name: str, *overrides: str, way: str, **others: Any) -> dict[str, Any]:
        places = [f"data.root={self.root}/synthetic", f"manifests={self.root}/manifests"]
        names = [f"output_root={self.root}/{way}", f"run_id={name}"]
        return {"overrides": [*TINY, *places, *names, *overrides], **others}

    def one(self, name: str, *overrides: str, way: str = "one", **others: Any) -> None:
        run(**self.arguments(name, *overrides, way=way, **others))

    def assert_equal(self, name: str, other: str) -> None:
        """Losses and counts of a run under both paths, and its hypotheses."""
        first, second = self.training(name), self.training(other)
        assert len(first["history"]) == 2
        for mine, its in zip(first["history"], second["history"], strict=True):
            assert its == pytest.approx(mine, abs=1e-4, rel=2e-6)  # of losses around 200; fp32 has 1e-7
        for key in ("iteration", "num_utterances", "counts", "best"):
            assert first[key] == second[key]
        texts = (self.root / name / "hypotheses.jsonl").read_text()
        assert texts == (self.root / other / "hypotheses.jsonl").read_text()
        assert any(json.loads(line)["hypothesis"] for line in texts.splitlines())

    def training(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.root / name / "training.json").read_text())
        return found


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Everything in one process first, then in two."""
    runs = Runs(tmp_path_factory.mktemp("runs"))
    runs.one("frozen", *FROZEN)
    runs.one("lora", *LORA)
    runs.one("full", *FULL)
    runs.one("odd", *ODD)
    runs.one("to_fsdp", *FULL, way="two", stop_at=1)
    return runs


@pytest.fixture(scope="module")
def said(runs: Runs) -> str:
    """What two processes say of the same runs."""
    todo = [
        runs.arguments("frozen", *FROZEN, way="two"),
        runs.arguments("lora", *LORA, way="two"),
        runs.arguments("full", *FULL, way="two"),
        runs.arguments("to_fsdp", *FULL, "trainer.parallel=fsdp", way="two"),
        runs.arguments("from_fsdp", *FULL, "trainer.parallel=fsdp", way="two", stop_at=3),
        runs.arguments("odd", *ODD, way="two", stop_at=3),
        runs.arguments("unbroken", *RANDOM, way="two", dropout=True),
        runs.arguments("broken", *RANDOM, way="two", dropout=True, stop_at=3),
        runs.arguments("broken", *RANDOM, way="two", dropout=True),
        runs.arguments("poison", *FULL, way="two", poison=True),
        runs.arguments("lone", way="two", lone=True),
    ]
    (runs.root / "runs.json").write_text(json.dumps(todo))
    script = str(Path(__file__).with_name("two_ranks.py"))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*torchrun, script, str(runs.root / "runs.json")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=600,
    )
    assert done.returncode != 0  # the last run fails
    assert (runs.root / "two" / "lone").is_dir(), done.stderr[-5000:]
    return done.stderr


@pytest.mark.parametrize("name", ["frozen", "lora", "full"])
def test_two_ranks_give_what_one_gives(runs: Runs, said: str, name: str) -> None:
    runs.assert_equal(f"one/{name}", f"two/{name}")


def test_a_run_begun_on_one_rank_goes_on_in_shards_on_two(runs: Runs, said: str) -> None:
    runs.assert_equal("one/full", "two/to_fsdp")
    starts = json.loads((runs.root / "two" / "to_fsdp" / "environment.json").read_text())
    assert [one["processes"] for one in starts] == [1, 2]


@pytest.mark.parametrize(("name", "whole", "overrides"), [("from_fsdp", "full", FULL), ("odd", "odd", ODD)])
def test_a_run_begun_on_two_ranks_goes_on_on_one(
    runs: Runs, said: str, name: str, whole: str, overrides: list[str]
) -> None:
    folder = runs.root / "two" / name
    assert json.loads((folder / "status.json").read_text())["state"] == "interrupted"
    assert not (folder / "result.json").exists()
    runs.one(name, *overrides, way="two")
    runs.assert_equal(f"one/{whole}", f"two/{name}")


def test_random_numbers_of_all_ranks_go_on_where_they_were(runs: Runs, said: str) -> None:
    whole, resumed = (runs.root / "two" / name / "model.safetensors" for name in ("unbroken", "broken"))
    assert len(json.loads((resumed.parent / "environment.json").read_text())) == 2
    assert whole.read_bytes() == resumed.read_bytes()


def test_rank_0_alone_writes(runs: Runs, said: str) -> None:
    folder = runs.root / "two" / "frozen"
    assert len(json.loads((folder / "environment.json").read_text())) == 1
    alone, two = ({path.relative_to(one) for path in one.rglob("*")} for one in (runs.root / "one" / "frozen", folder))
    assert alone == two
    assert said.count("decode: 100%") == 6  # one bar a run that went so far


def test_a_loss_that_is_no_number_is_one_error_on_all_ranks_and_names_the_batch(runs: Runs, said: str) -> None:
    found = dict(re.findall(r"rank (\d) says: (the loss or its gradient became nan at iteration 1, .*)", said))
    assert found.keys() == {"0", "1"}
    assert found["0"] == found["1"]
    assert found["0"].count("studio_") == 4


def test_when_one_rank_fails_it_alone_says_why_and_the_run_records_it(runs: Runs, said: str) -> None:
    assert said.count("ValueError: one.wav cannot be read") == 1
    status = json.loads((runs.root / "two" / "lone" / "status.json").read_text())
    assert (status["state"], status["error"]) == ("failed", "ValueError: one.wav cannot be read (on rank 1)")
    assert "one.wav cannot be read" in (runs.root / "two" / "lone" / "run.log").read_text()


def test_what_several_ranks_had_decoded_is_not_decoded_again(
    runs: Runs, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted in its decoding on two ranks, a run goes on with one."""
    folder, again = runs.root / "two" / "frozen", runs.root / "two" / "again"
    shutil.copytree(folder, again)
    (again / "result.json").unlink()
    lines = (again / "hypotheses.jsonl").read_text().splitlines(keepends=True)
    (again / "hypotheses.jsonl").unlink()
    (again / "hypotheses.jsonl.partial").write_text(lines[1])
    (again / "hypotheses.jsonl.partial1").write_text("".join(lines[2:]) + lines[0][:20])
    runs.one("again", *FROZEN, way="two")
    assert (again / "hypotheses.jsonl").read_text() == "".join(lines)
    assert not list(again.glob("*.partial*"))
