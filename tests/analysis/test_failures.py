from __future__ import annotations

import pytest

from mlsuperb.analysis.failures import failure_signatures
from mlsuperb.analysis.languages import LanguageScore
from mlsuperb.scoring.result import Metric


def score(code: str, *rates: float) -> LanguageScore:
    datasets = {f"d{place}": rate for place, rate in enumerate(rates)}
    mean = sum(rates) / len(rates)
    return LanguageScore(code=code, num_utterances=5, rate=mean, lid_accuracy=50.0, datasets=datasets)


def section(*, mean: float, std: float, worst: float) -> dict[str, Metric]:
    values = {"macro_cer": mean, "std_cer": std, "worst_language_cer": worst}
    return {f"all_{name}": Metric(value=value, better="lower", languages=["lao"]) for name, value in values.items()}


def states(metrics: dict[str, Metric], scores: list[LanguageScore], lid: float | None) -> list[str]:
    return [one.state for one in failure_signatures(metrics, scores, lid_accuracy=lid)]


FIVE = [score(code, 10.0, 12.0) for code in ("eng", "fra", "deu", "spa", "lao")]


def test_each_shows_where_its_rule_is_met_and_only_there() -> None:
    # E-Branchformer of the challenge's README: 18.6, 14.4, LID 81.8; its worst languages around 51
    assert states(section(mean=18.6, std=14.4, worst=51.1), FIVE, 81.8) == ["does not show"] * 4
    assert states(section(mean=20.0, std=16.1, worst=51.1), FIVE, 81.8)[0] == "shows"
    assert states(section(mean=20.0, std=14.4, worst=60.1), FIVE, 81.8)[1] == "shows"
    assert states(section(mean=20.0, std=14.4, worst=40.0), [*FIVE, score("urd", 10.0, 20.0)], 81.8)[2] == "shows"
    assert states(section(mean=20.0, std=14.4, worst=40.0), FIVE, 69.9)[3] == "shows"


def test_a_range_of_a_few_points_is_none() -> None:
    assert states({}, [score("eng", 1.0, 4.0)], None)[2] == "does not show"


def test_what_cannot_be_told_is_not_denied() -> None:
    found = failure_signatures({}, [score("eng", 10.0)], lid_accuracy=None)
    assert [one.state for one in found] == ["cannot be told"] * 4
    assert "task names no language" in found[3].finding
    few = failure_signatures(section(mean=1.0, std=9.0, worst=9.0), FIVE[:3], lid_accuracy=50.0)
    assert "3 languages, at least 4" in few[0].finding


def test_findings_hold_the_numbers() -> None:
    found = failure_signatures(section(mean=20.0, std=10.0, worst=70.0), FIVE, lid_accuracy=50.0)
    assert found[0].finding == "standard deviation 10.0 over 5 languages, mean 20.0 %: 0.50 of it"
    assert found[1].finding == "lao has 70.0 %, the mean is 20.0 %: 3.5 times as much"
    assert all(one.rule for one in found)


@pytest.mark.parametrize("mean", [0.0, 20.0])
def test_no_error_is_no_failure(mean: float) -> None:
    assert states(section(mean=mean, std=0.0, worst=mean), FIVE, 100.0) == ["does not show"] * 4
