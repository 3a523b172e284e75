from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from mlsuperb.analysis.influences import FACTS, binned, influences, rank_correlation


def table(num: int = 200, **columns: object) -> pd.DataFrame:
    generator = np.random.default_rng(0)
    facts = {name: generator.random(num) for name in FACTS}
    base = {"split": "test", "id": range(num), "language": "eng", "dataset": "a", "score": generator.random(num) * 100}
    return pd.DataFrame({**base, "errors": 3, "length": 10, **facts, **columns})


def test_the_correlation_is_spearmans() -> None:
    generator = np.random.default_rng(1)
    first = pd.Series(generator.integers(0, 8, 60).astype(float))  # with ties
    second = first + 3 * pd.Series(generator.standard_normal(60))
    found = rank_correlation(first, second)
    assert found.rho == pytest.approx(spearmanr(first, second).statistic)
    assert -1 < found.low < found.rho < found.high < 1
    assert rank_correlation(first, pd.Series([1.0] * 60)) is None
    assert rank_correlation(first, 2 * first).rho == pytest.approx(1.0)


def test_the_interval_covers_as_often_as_it_says() -> None:
    generator = np.random.default_rng(2)
    covered = 0
    for _ in range(300):
        x, y = generator.standard_normal((2, 50))
        found = rank_correlation(pd.Series(x), pd.Series(0.5 * x + y))
        covered += found.low < 0.4307 < found.high  # Spearman's of this model: 6 / pi asin(r / 2), r = 0.5 / sqrt(1.25)
    assert 0.92 < covered / 300 < 0.98


def test_the_interval_knows_of_means_that_were_taken_away() -> None:
    generator = np.random.default_rng(3)
    covered = 0
    for _ in range(300):
        x_GN, y_GN = generator.standard_normal((2, 30, 2))  # of 30 languages, two utterances each
        x, y = (pd.Series((one - one.mean(1, keepdims=True)).ravel()) for one in (x_GN, y_GN))
        found = rank_correlation(x, y, num_means=30)
        covered += found.low < 0 < found.high
    assert 0.92 < covered / 300 < 0.98


def test_differences_between_languages_can_be_taken_out() -> None:
    generator = np.random.default_rng(0)
    language = np.repeat(["eng", "fra"], 100)
    shift = np.repeat([0.0, 10.0], 100)
    rows = table(duration_s=shift + generator.random(200), score=shift + generator.random(200), language=language)
    found = influences(rows, rate="CER %")[0]
    assert found.overall.rho > 0.6
    assert abs(found.within.rho) < 0.2


def test_what_cannot_be_told_says_why() -> None:
    rows = table(unseen_share=0.0, snr_db=np.nan)
    found = {one.column: one for one in influences(rows, rate="CER %")}
    assert found["unseen_share"].overall is None
    assert "the same for all utterances" in found["unseen_share"].reason
    assert "only 0 utterances" in found["snr_db"].reason
    assert found["duration_s"].chart is not None


def test_bins_pool_errors() -> None:
    rows = pd.DataFrame({"x": range(100), "errors": [1] * 50 + [3] * 50, "length": [10] * 100})
    found = binned(rows, "x")
    assert len(found) == 10
    assert found["num"].sum() == 100
    assert found["rate"].tolist()[0] == 10
    assert found["rate"].tolist()[-1] == 30
    assert (found["middle"].diff().dropna() > 0).all()
    assert binned(rows.assign(x=1.0), "x")["num"].tolist() == [100]
