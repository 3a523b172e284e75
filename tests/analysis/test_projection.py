"""t-SNE and neighbours, against scikit-learn and by hand; their pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mlsuperb.analysis.chart import colours
from mlsuperb.analysis.projection import check_utterances, knn, knn_table, points_table, tsne, unit_directions
from mlsuperb.analysis.stages import knn_chart, read_table, summary, tsne_chart


def clusters(num: int, *, size: int = 12, spread: float = 0.3, seed: int = 0) -> tuple[np.ndarray, list[str]]:
    rng = np.random.default_rng(seed)
    languages = [code for code in ("nan", "eng", "swa") for _ in range(num)]
    middles = {code: rng.standard_normal(size) for code in languages}
    vectors = np.stack([middles[code] + spread * rng.standard_normal(size) for code in languages])
    return (vectors + 50).astype(np.float32), languages  # far from zero: what all have in common


def test_knn_is_leave_one_out_under_cosine() -> None:
    from sklearn.neighbors import NearestNeighbors

    vectors_ND, languages = clusters(15, spread=1.5)
    directions = vectors_ND.astype(np.float64) - vectors_ND.mean(0, dtype=np.float64)
    nearest = NearestNeighbors(n_neighbors=2, metric="cosine").fit(directions).kneighbors(return_distance=False)
    expected = [languages[first] == code for (first, _), code in zip(nearest, languages, strict=True)]
    assert knn(vectors_ND, languages, k=1).tolist() == expected
    assert 0.3 < np.mean(expected) < 1.0
    # two neighbours that disagree: the nearer one decides, so that k=2 is k=1
    assert knn(vectors_ND, languages, k=2).tolist() == expected


def test_knn_votes_and_breaks_ties_by_the_nearest() -> None:
    angles = np.deg2rad([0, 5, 10, 12, 180, 185, 190, 192])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    languages = ["a", "b", "a", "a", "c", "c", "c", "c"]
    right = knn(vectors, languages, k=3)
    assert right.tolist() == [True, False, True, True, True, True, True, True]


def test_neighbours_of_the_own_speaker_are_left_out() -> None:
    angles = np.deg2rad([0, 1, 90, 91, 180, 181, 270, 271])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    languages = ["a", "a", "a", "a", "b", "b", "b", "b"]
    speakers = ["1", "1", "2", "2", "3", "3", "4", "4"]
    assert knn(vectors, languages, k=1).all()
    assert not knn(vectors, languages, k=1, speakers=speakers)[
        [0, 3, 4, 7]
    ].any()  # the nearest others are over the border
    assert knn(vectors, languages, k=1, speakers=[""] * 8).all()  # unknown speakers are nobody's
    alone = knn(vectors, languages, k=1, speakers=["1"] * 8)  # no neighbour is left, so none is right
    assert not alone.any()
    table = knn_table({"x": vectors}, languages, speakers=speakers, k=1).iloc[0]
    assert (table["accuracy"], table["chance"], table["num_utterances"], table["num_other_speakers"]) == (100, 50, 8, 8)
    one_voice = knn_table({"x": vectors}, languages, speakers=["1", "1", "2", "2", *["3"] * 4], k=1).iloc[0]
    assert one_voice["num_other_speakers"] == 4  # nobody else speaks b
    unknown = knn_table({"x": vectors}, languages, speakers=[""] * 8, k=1).iloc[0]
    assert np.isnan(unknown["accuracy_other_speakers"])


def test_what_all_have_in_common_does_not_count() -> None:
    vectors_ND, _ = clusters(10)
    np.testing.assert_allclose(unit_directions(vectors_ND), unit_directions(vectors_ND + 1000), atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(unit_directions(vectors_ND), axis=1), 1)


@pytest.mark.parametrize(("num", "size"), [(3, 2), (3, 1), (12, 8)])
def test_tsne_is_seeded_and_works_for_few_points(num: int, size: int) -> None:
    vectors_ND, _ = clusters(num, size=size)
    first, second = tsne(vectors_ND, seed=0), tsne(vectors_ND, seed=0)
    assert first.shape == (3 * num, 2)
    assert np.isfinite(first).all()
    np.testing.assert_array_equal(first, second)


def test_tsne_keeps_clusters_apart() -> None:
    vectors_ND, languages = clusters(15)
    xy_N2 = tsne(vectors_ND, seed=0)
    near = np.linalg.norm(xy_N2[:, None] - xy_N2[None], axis=-1) + 1e9 * np.eye(len(xy_N2))
    assert [languages[index] for index in near.argmin(1)] == languages


@pytest.mark.parametrize(
    ("languages", "k", "message"),
    [
        (["a", "b"] * 3, 5, r"gives 6 utterances, too few .* 8 or more"),
        (["a", "b"] * 6, 20, "22 or more"),
        (["a"] * 20, 5, "one language"),
        (["a", "b"] * 10, 0, "k is 0"),
    ],
)
def test_too_little_to_look_at(languages: list[str], k: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_utterances(languages, place="split test of RUN", k=k)


def test_tables_and_pictures_survive_their_files(tmp_path: Path) -> None:
    vectors_ND, languages = clusters(6)
    stages = {"upstream layer 2": vectors_ND, "head output": vectors_ND[:, ::-1].copy()}
    ids = [f"u{number}" for number in range(len(languages))]
    predicted = [None, "eng", *languages[2:]]
    points = points_table(stages, ids=ids, languages=languages, predicted=predicted, seed=0)
    assert points.columns.tolist() == ["stage", "id", "language", "predicted", "correct", "x", "y"]
    assert points["correct"].tolist()[:3] == ["False", "False", "True"]
    assert points["predicted"].tolist()[:3] == ["", "eng", "nan"]
    neighbours = knn_table(stages, languages, speakers=[""] * len(ids), k=5)
    assert neighbours.columns.tolist()[:5] == ["stage", "k", "accuracy", "num_utterances", "chance"]

    def saved(points: pd.DataFrame, neighbours: pd.DataFrame, *, folder: Path) -> dict[str, bytes]:
        charts = [tsne_chart(points, neighbours), knn_chart(neighbours, constant=["front end"])]
        assert "front end" in charts[1].note
        return {path.name: path.read_bytes() for chart in charts for path in chart.save(folder)}

    first = saved(points, neighbours, folder=tmp_path / "first")
    read = read_table(tmp_path / "first" / "tsne.csv"), read_table(tmp_path / "first" / "knn.csv")
    assert read[0]["language"].tolist() == points["language"].tolist()  # nan is a language
    assert saved(*read, folder=tmp_path / "second") == first
    assert [row[0] for row in summary(read[1]).rows] == list(stages)


def test_a_task_without_languages_has_no_marks() -> None:
    vectors_ND, languages = clusters(4)
    ids = [f"u{number}" for number in range(len(languages))]
    points = points_table({"x": vectors_ND}, ids=ids, languages=languages, predicted=None, seed=0)
    assert set(points["correct"]) == set(points["predicted"]) == {""}
    neighbours = knn_table({"x": vectors_ND}, languages, speakers=[""] * len(ids), k=3)
    chart = tsne_chart(points, neighbours)
    assert "no point is right or wrong" in chart.note
    assert ">wrong<" not in chart.svg()


def test_twenty_names_have_colours_of_their_own() -> None:
    for num in (1, 8, 9, 20):
        assert len(set(colours([f"l{number:02d}" for number in range(num)]).values())) == num
    assert len(colours([f"l{number:03d}" for number in range(143)])) == 143
