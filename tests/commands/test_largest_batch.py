"""How large a batch may be: the search on made-up machines, the command on the built-in corpus."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from mlsuperb.benchmark.largest_batch import largest_batch
from mlsuperb.benchmark.model import SpeechModel
from mlsuperb.commands.largest_batch import main
from mlsuperb.config.compose import compose
from mlsuperb.training.memory import Measured, drawn, find_largest, memory_errors_named
from mlsuperb.types import Batch

LENGTH_S = 20.0


def machine(*, capacity_gb: float, saturated: int = 10**6) -> Callable[[int], Measured]:
    """2 GB and 0.1 GB a second; steps take longer from `saturated` utterances on."""

    def measure(num: int) -> Measured:
        peak_gb = 2 + 0.1 * LENGTH_S * num
        if peak_gb > capacity_gb:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return Measured(num_utterances=num, padded_s=LENGTH_S * num, step_s=max(1.0, num / saturated), peak_gb=peak_gb)

    return measure


def test_stops_before_the_memory_is_full_and_tells_what_fits() -> None:
    found, fits_s = find_largest(machine(capacity_gb=80), start_gb=2, limit_gb=72)
    assert fits_s == pytest.approx(700)
    assert [one.num_utterances for one in found] == [1, 2, 3, 4, 6, 9, 13, 19, 28]


def test_stops_where_larger_batches_are_no_faster() -> None:
    found, fits_s = find_largest(machine(capacity_gb=80, saturated=3), start_gb=2, limit_gb=72)
    assert [one.num_utterances for one in found] == [1, 2, 3, 4, 6]
    assert fits_s == pytest.approx(700)


def test_a_limit_that_was_too_high_ends_at_what_did_fit() -> None:
    found, fits_s = find_largest(machine(capacity_gb=9), start_gb=2, limit_gb=72)
    assert fits_s == found[-1].padded_s == 60


def test_nothing_fits_is_said() -> None:
    with pytest.raises(ValueError, match="not even one utterance of the greatest length fits"):
        find_largest(machine(capacity_gb=3), start_gb=2, limit_gb=3)


def test_the_command_measures_the_run_that_is_asked_for(tmp_path: Path) -> None:
    overrides = [
        "upstream=tiny", "adaptation=lora", "head=linear", "objective=ctc_dro", "data.languages=[deu]", "data.minutes=0.3",
        "trainer=debug",
        "data.test_minutes=0.1", f"data.root={tmp_path / 'corpus'}", f"output_root={tmp_path / 'exp'}",
    ]  # fmt: skip
    lines: list[str] = []
    seconds = largest_batch(compose(overrides), show=lines.append)
    assert lines[0].startswith("cpu (")
    assert len(lines) >= 5  # two sizes at least
    assert f"loading.train.max_batch_s={seconds:.0f}" in lines[-1]
    assert {path.name for path in (tmp_path / "exp").iterdir()} == {"manifests"}


@pytest.mark.parametrize("job", ["pretrain", "translation", "vocoder", "labels"])
def test_other_jobs_are_refused_in_one_sentence(job: str) -> None:
    with pytest.raises(ValueError, match=rf"measures models of job=benchmark, and job={job} trains another"):
        largest_batch(compose([f"job={job}"]), show=print)


def batch(num: int) -> Batch:
    lengths_B = torch.full((num,), 1)
    return Batch(
        ids=("a",) * num,
        languages=("deu",) * num,
        wave_BT=torch.zeros(num, 32_000),
        lengths_B=lengths_B,
        targets_BS=torch.zeros(num, 1),
        target_lengths_B=lengths_B,
    )


def test_memory_that_runs_out_is_one_paragraph_with_the_batch_and_the_settings() -> None:
    message = r"on a batch of 3 utterances, the longest of 2.0 s \(6 s with padding\).*max_batch_s.*largest_batch"
    with pytest.raises(ValueError, match=message), memory_errors_named(batch(3), SpeechModel.advice):
        torch.empty(2**60, dtype=torch.uint8)
    with pytest.raises(RuntimeError, match="shapes"), memory_errors_named(batch(3), SpeechModel.advice):
        raise RuntimeError("shapes")


@pytest.mark.parametrize(
    "said",
    ["CUDA error: out of memory\nCUDA kernel errors might be reported later", "cuDNN error: CUDNN_STATUS_ALLOC_FAILED"],
)
def test_memory_that_runs_out_as_a_batch_is_made_ready(said: str) -> None:
    """A cache computes features as a batch is drawn."""

    def batches() -> Iterator[Batch]:
        yield batch(1)
        raise RuntimeError(said)

    stream = drawn(batches(), SpeechModel.advice)
    assert next(stream).ids == ("a",)
    with pytest.raises(ValueError, match=r"it ran out as the next batch was made ready .*max_batch_s"):
        next(stream)
    assert list(drawn(iter([batch(2)] * 3), SpeechModel.advice))[2].ids == ("a", "a")


def test_settings_may_be_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "upstream").mkdir()
    (tmp_path / "upstream" / "mine.yaml").write_text("defaults: [tiny, _self_]\nname: mine\n")
    found: list[str] = []
    monkeypatch.setattr(
        "mlsuperb.benchmark.largest_batch.largest_batch", lambda config, **_: found.append(config["upstream"]["name"])
    )
    main(["--config-dir", str(tmp_path), "upstream=mine"])
    assert found == ["mine"]
