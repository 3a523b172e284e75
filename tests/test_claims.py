"""scripts/claims.py: the committed page, and what it says of runs made up for each outcome."""

from __future__ import annotations

import hashlib
import json
import random
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from script_module import SCRIPTS, script_module

from mlsuperb.config.options import conf_dir, options
from mlsuperb.runs.hypotheses import write_hypotheses
from mlsuperb.scoring.boards.published import published_rows
from mlsuperb.scoring.comparison.bootstrap import Interval
from mlsuperb.types import Hypothesis

FRAME = {"experiment": "v1/asr_lid"}
BETTER = {"says": "", "kind": "better", "metric": "cer", "first": {"upstream": "a"}, "second": {"upstream": "b"}}
WORD = "abcdefghij"


@pytest.fixture(scope="module")
def claims() -> Iterator[ModuleType]:
    with script_module("claims") as module:
        yield module


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., Path]:
    """Makes a run: `wrong` is how many of ten characters each language (or (language, dataset)) gets wrong, now and then more."""

    def make(name: str, wrong: Mapping[Any, float] | float = 3, *, lid: float = 1.0, number: int = 40, noise: int = 2,
             folder: Path | None = None, seed: int = 0, experiment: str | None = "v1/asr_lid", **facts: Any) -> Path:  # fmt: skip
        folder = folder or tmp_path / "exp" / name
        folder.mkdir(parents=True)
        draw = random.Random(name)
        groups = wrong if isinstance(wrong, Mapping) else dict.fromkeys(("deu", "eng"), wrong)
        ones = []
        for group, rate in groups.items():
            language, dataset = group if isinstance(group, tuple) else (group, "fleurs")
            for index in range(number):
                errors = min(10, max(0, round(rate + draw.randint(-noise, noise))))
                named = language if draw.random() < lid else "xxx"
                ones.append(
                    Hypothesis(
                        id=f"{dataset}_{language}_{index:06d}", dataset=dataset, language=language, split="test", audio="a.wav",
                        start_s=0.0, duration_s=1.0, reference=WORD, predicted_language=named,
                        hypothesis=f"[{named}] {'X' * errors}{WORD[errors:].upper()}",
                    )
                )  # fmt: skip
        write_hypotheses(folder / "hypotheses.jsonl", ones)
        content = result(folder, num_utterances=len(ones), seed=seed, experiment=experiment, **facts)
        (folder / "result.json").write_text(json.dumps(content))
        return folder

    def result(folder: Path, *, num_utterances: int, seed: int, experiment: str | None, synthetic: bool = False,
               upstream: str = "a", adaptation: str = "frozen", head: str = "transformer", track: str = "asr_lid",
               data: str = "0", train: str = "0", trained_on: tuple[str, ...] = ("deu", "eng"), loss: float = 1.0,
               run_name: str = "run", release: dict[str, Any] | None = None, featurizer: dict[str, Any] | None = None,
               deviations: Mapping[str, Any] = {}) -> dict[str, Any]:  # fmt: skip
        benchmark = {"experiment": experiment, "track": track, "size": "10min", "run": None, "deviations": deviations}
        sha256 = hashlib.sha256((folder / "hypotheses.jsonl").read_bytes()).hexdigest()
        return {
            "schema_version": 1, "run_id": folder.name, "status": "finished", "official": True, "not_official_because": [],
            "synthetic": synthetic, "benchmark": benchmark if experiment else None, "task": {"name": "asr_lid", "units": "char"},
            "normaliser": {"name": "v1", "version": "1"}, "scorer": {"version": "1", "protocols": {}},
            "data": {"name": "made_up", "release": release, "languages": {"train": list(trained_on)},
                     "splits": {name: {"sha256": sha, "num_utterances": num_utterances, "duration_s": 1.0}
                                for name, sha in (("train", train), ("test", data))}},
            "upstream": {"name": upstream}, "adaptation": {"name": adaptation}, "head": {"name": head}, "featurizer": featurizer,
            "num_trainable": 1, "num_total": 1, "config": {"objective": {"name": "ctc"}, "run_name": run_name}, "seed": seed,
            "code": {"commit": "c", "dirty": False, "package_version": "0"}, "env": {}, "protocols": {}, "cost": {},
            "training": {"history": [{"valid_loss": loss}]}, "date": "today",
            "hypotheses": {"path": "hypotheses.jsonl", "sha256": sha256, "num_utterances": {"test": num_utterances}},
        }  # fmt: skip

    return make


def verdict(claims: ModuleType, test: dict[str, Any], place: Path) -> Any:
    runs, *_ = claims.find_runs([place / "exp"])
    return claims.judge(test, runs)


def test_the_committed_page_is_what_the_script_writes(claims: ModuleType, tmp_path: Path) -> None:
    claims.main(["--out", str(tmp_path / "claims.md")])
    assert (tmp_path / "claims.md").read_text() == claims.PAGE.read_text(), "run python scripts/claims.py"
    assert "No run of real speech on the published data. 22 claims: 22 not run." in claims.PAGE.read_text()


def test_every_claim_names_what_there_is(claims: ModuleType) -> None:
    """A misspelt upstream would be `not run` for ever."""
    groups = claims.read_claims(claims.CLAIMS)
    tests = [test for group in groups for claim in group["claims"] for test in claim["tests"]]
    assert len(tests) > 35
    assert len({claim["id"] for group in groups for claim in group["claims"]}) == 22
    checked = 0
    for test in tests:
        selectors = [test[key] for key in ("first", "second", "runs", "where") if key in test]
        selectors += [*test.get("systems", []), *test.get("under", [])]
        for selector in selectors:
            for key, wanted in selector.items():
                known = options({"experiment": "exp"}.get(key, key), [conf_dir()])
                for pattern in [wanted] if isinstance(wanted, str) else wanted:
                    if key in ("experiment", "upstream", "adaptation", "head", "objective"):
                        assert any(fnmatch(name, pattern) for name in known), f"{test['says']}: {key} {pattern}"
                        checked += 1
        if test["kind"] == "published":
            assert any((row.title, row.system) == (test["title"], test["system"]) for row in published_rows())
    assert checked > 100


@pytest.mark.parametrize(
    ("first", "second", "outcome"),
    [(2, 5, "supported"), (5, 2, "contradicted"), (3, 3, "undecided")],
)
def test_two_systems(
    claims: ModuleType, made: Callable[..., Path], tmp_path: Path, first: int, second: int, outcome: str
) -> None:
    made("first", first, upstream="a")
    made("second", second, upstream="b")
    found = verdict(claims, BETTER, tmp_path)
    assert found.outcome == outcome
    assert {run.name for run in found.runs} == {"first", "second"}
    if outcome == "supported":  # of 11 characters with the space before them, some 3 more wrong
        assert found.text.startswith("CER 2")
        assert found.text.endswith("points better, 1 pair of runs")
    if outcome == "contradicted":
        assert re.fullmatch(r"CER \d\d\.\d \[\d\d\.\d, \d\d\.\d\] points worse, 1 pair of runs", found.text)


def test_accuracy_is_better_when_higher(claims: ModuleType, made: Callable[..., Path], tmp_path: Path) -> None:
    made("first", upstream="a", lid=0.95)
    made("second", upstream="b", lid=0.4)
    assert verdict(claims, {**BETTER, "metric": "lid_accuracy"}, tmp_path).outcome == "supported"
    swapped = {**BETTER, "metric": "lid_accuracy", "first": {"upstream": "b"}, "second": {"upstream": "a"}}
    assert verdict(claims, swapped, tmp_path).outcome == "contradicted"


def test_synthetic_speech_tests_nothing(claims: ModuleType, made: Callable[..., Path], tmp_path: Path) -> None:
    made("first", 2, upstream="a", synthetic=True)
    made("second", 5, upstream="b", synthetic=True)
    assert verdict(claims, BETTER, tmp_path).outcome == "not run"
    claims.main([str(tmp_path / "exp"), "--out", str(tmp_path / "page.md")])
    assert (
        "No run of real speech on the published data, 2 of synthetic speech left out"
        in (tmp_path / "page.md").read_text()
    )


@pytest.mark.parametrize(
    "change", [{"data": "1"}, {"train": "1"}, {"seed": 1}, {"head": "conformer"}, {"adaptation": "full"}]
)
def test_runs_that_differ_in_more_are_no_pair(
    claims: ModuleType, made: Callable[..., Path], tmp_path: Path, change: dict[str, Any]
) -> None:
    made("first", 2, upstream="a")
    made("second", 5, upstream="b", **change)
    found = verdict(claims, BETTER, tmp_path)
    assert found.outcome == "not run"
    assert "1 runs of the first, 1 of the second, but no two alike" in found.text


def test_runs_on_more_data_are_paired_with_each_other(
    claims: ModuleType, made: Callable[..., Path], tmp_path: Path
) -> None:
    """And not taken for a better learning rate of the others."""
    made("small_a", 4, upstream="a")
    made("small_b", 2, upstream="b")
    made("large_a", 1, upstream="a", train="1", loss=0.5)
    found = verdict(claims, BETTER, tmp_path)
    assert found.outcome == "contradicted"
    assert {run.name for run in found.runs} == {"small_a", "small_b"}


def test_runs_that_a_test_names_may_have_other_training_data(
    claims: ModuleType, made: Callable[..., Path], tmp_path: Path
) -> None:
    made("one", 2, run_name="text", train="1")
    made("two", 4, run_name="speech")
    test = {**BETTER, "first": {"run_name": "text"}, "second": {"run_name": "speech"}}
    assert verdict(claims, test, tmp_path).outcome == "supported"


def test_seeds_add_up_and_the_best_of_a_sweep_stands_for_it(
    claims: ModuleType, made: Callable[..., Path], tmp_path: Path
) -> None:
    for seed in (0, 1):
        made(f"first{seed}", 2, upstream="a", seed=seed)
        made(f"second{seed}", 4, upstream="b", seed=seed)
    made("high_rate", 0, upstream="b", loss=9.0)  # better on the test set, but not chosen by it
    found = verdict(claims, BETTER, tmp_path)
    assert found.outcome == "supported"
    assert {run.name for run in found.runs} == {"first0", "first1", "second0", "second1"}
    runs, *_ = claims.find_runs([tmp_path / "exp"])
    import claims_runs

    pairs = claims_runs.pairs(runs, BETTER["first"], BETTER["second"])
    first, second = claims_runs.paired_counts(pairs, subset="trained")
    assert len(pairs) == 2
    assert len(first) == len(second) == 80  # of two languages, not 160
    assert all(one.num_utterances == 2 for one in first)


@pytest.mark.parametrize(
    ("under_second", "outcome"), [((5, 2), "supported"), ((2, 5), "contradicted"), ((3, 3), "undecided")]
)
def test_a_ranking(
    claims: ModuleType, made: Callable[..., Path], tmp_path: Path, under_second: tuple[int, int], outcome: str
) -> None:
    for head, wrong in (("transformer", (2, 5)), ("conformer", under_second)):
        for upstream, errors in zip("ab", wrong, strict=True):
            made(f"{upstream}-{head}", errors, upstream=upstream, head=head)
    test = {
        "kind": "ranking", "metric": "cer", "where": FRAME, "systems": [{"upstream": "a"}, {"upstream": "b"}, {"upstream": "c"}],
        "under": [{"head": "transformer"}, {"head": "conformer"}, {"head": "linear"}],
    }  # fmt: skip
    found = verdict(claims, test, tmp_path)
    assert found.outcome == outcome
    assert re.search(r"CER: a against b: [\d.]+ \[.*\] points better under transformer, ", found.text)
    assert len(found.runs) == 4
    assert verdict(claims, {**test, "under": test["under"][1:]}, tmp_path).outcome == "not run"


@pytest.mark.parametrize(("worst", "outcome"), [(10, "supported"), (5, "contradicted"), (8, "undecided")])
def test_a_spread(claims: ModuleType, made: Callable[..., Path], tmp_path: Path, worst: int, outcome: str) -> None:
    made("run", {"deu": 4, "eng": 5, "spa": worst}, number=60)
    found = verdict(claims, {"kind": "spread", "by": "language", "times": 2, "runs": FRAME}, tmp_path)
    assert found.outcome == outcome
    assert found.text.startswith("deu ")


def test_a_spread_of_datasets_is_of_one_language(claims: ModuleType, made: Callable[..., Path], tmp_path: Path) -> None:
    test = {"kind": "spread", "by": "dataset", "times": 1.5, "runs": FRAME}
    made("run", {("deu", "fleurs"): 2, ("eng", "mls"): 9})
    assert verdict(claims, test, tmp_path).outcome == "not run"
    made("more", {("urd", "fleurs"): 2, ("urd", "cv"): 8, ("eng", "mls"): 9})
    found = verdict(claims, test, tmp_path)
    assert found.outcome == "supported"
    assert found.text.startswith("of urd, fleurs ")


@pytest.mark.parametrize(("rates", "outcome"), [((3, 7), "supported"), ((7, 3), "contradicted"), ((4, 4), "undecided")])
def test_transfer_reads_the_evaluation_in_the_run(
    claims: ModuleType, made: Callable[..., Path], tmp_path: Path, rates: tuple[int, int], outcome: str
) -> None:
    home = made("spanish", {"spa": 1}, trained_on=("spa",), run_name="transfer-x", experiment=None)
    wrong = {"spa": 1, "por": rates[0], "fra": rates[1]}
    made("e", wrong, folder=home / "evaluations" / "all-1234", trained_on=(), run_name="transfer-x", experiment=None)
    test = {
        "kind": "transfer",
        "better": "por",
        "worse": "fra",
        "runs": {"run_name": "transfer-*", "trained_on": ["spa"]},
    }
    found = verdict(claims, test, tmp_path)
    assert found.outcome == outcome
    assert [run.name for run in found.runs] == ["spanish on all-1234"]


@pytest.mark.parametrize(("wrong", "outcome"), [(6.9, "supported"), (3, "contradicted")])
def test_a_published_row(
    claims: ModuleType, made: Callable[..., Path], tmp_path: Path, wrong: float, outcome: str
) -> None:
    """FBANK, 10min: LID 35.9, joint CER 62.0, 6.8 of 11 characters (the space before the text is one of them)."""
    test = {"kind": "published", "title": "2024 board", "system": "FBANK"}
    whole = {"name": "7th", "whole": True, "why": ""}
    made("run", wrong, number=4000, noise=0, lid=0.359, upstream="fbank", release=whole)
    found = verdict(claims, test, tmp_path)
    if outcome == "supported":
        assert "ASR+LID CER 10min 63.6 [63.6, 63.6], published 62" in found.text
    assert found.outcome == outcome
    part = {"name": "7th", "whole": False, "why": ""}
    made("part", wrong, upstream="fbank", release=part)
    made("discarded", 10, upstream="fbank", release=whole, loss=9.0)
    made(
        "deviating", 10, upstream="fbank", release=whole, loss=0.1, deviations={"head.name": ["transformer", "linear"]}
    )
    judged = verdict(claims, test, tmp_path)
    assert [run.name for run in judged.runs] == ["run"]
    assert judged.outcome == outcome


def test_layers_need_several_runs(claims: ModuleType, made: Callable[..., Path], tmp_path: Path) -> None:
    ends = [0.2, 0.05, 0.05, 0.02, 0.02, 0.02, 0.05, 0.1, 0.12, 0.12, 0.12, 0.12, 0.01]
    test = {"kind": "layers", "high": [[0.0, 0.0], [0.65, 0.93]], "low": [[0.24, 0.43]], "runs": FRAME}
    made("without weights")
    for number in range(3):
        assert verdict(claims, test, tmp_path).outcome == ("undecided" if number else "not run")
        made(f"run{number}", seed=number, featurizer={"name": "weighted_sum", "layer_weights": ends})
    found = verdict(claims, test, tmp_path)
    assert found.outcome == "supported"
    assert found.text.startswith("+11.6 [")  # the mean of 0.2 and four of 0.12, less 0.02
    turned = {**test, "high": test["low"], "low": test["high"]}
    assert verdict(claims, turned, tmp_path).outcome == "contradicted"


def test_discarded_runs_of_a_sweep_judge_nothing(claims: ModuleType, made: Callable[..., Path], tmp_path: Path) -> None:
    """Each would turn the outcome."""
    ends, flat = [0.4, 0.05, 0.05, 0.5], [0.1, 0.4, 0.4, 0.1]
    for number in range(3):
        for name, loss, weights in (("chosen", 1.0, ends), ("discarded", 2.0, flat)):
            featurizer = {"name": "weighted_sum", "layer_weights": weights}
            wrong = {"deu": 2, "eng": 8} if name == "chosen" else {"deu": 5, "eng": 4}
            made(f"{name}{number}", wrong, seed=number, loss=loss, featurizer=featurizer)
    tests: list[dict[str, Any]] = [
        {"kind": "spread", "by": "language", "times": 2, "runs": FRAME},
        {"kind": "transfer", "better": "deu", "worse": "eng", "runs": FRAME},
        {"kind": "layers", "high": [[0.0, 0.1], [0.9, 1.0]], "low": [[0.2, 0.8]], "runs": FRAME},
    ]
    for test in tests:
        found = verdict(claims, test, tmp_path)
        assert found.outcome == "supported", test
        assert sorted(run.name for run in found.runs) == ["chosen0", "chosen1", "chosen2"]


@pytest.mark.parametrize(("after", "outcome"), [(95, "supported"), (40, "contradicted"), (62, "undecided")])
def test_clusters(claims: ModuleType, made: Callable[..., Path], tmp_path: Path, after: int, outcome: str) -> None:
    test = {"kind": "clusters", "before": "upstream layer", "after": "head output", "runs": FRAME}
    folder = made("run") / "analysis"
    assert verdict(claims, test, tmp_path).outcome == "not run"
    folder.mkdir()
    rows = [("upstream layer 0", 30), ("upstream layer 3", 60), ("features", 70), ("head output", after)]
    lines = ["stage,k,accuracy,num_utterances,chance", *(f"{stage},5,{accuracy},200,10" for stage, accuracy in rows)]
    (folder / "knn.csv").write_text("\n".join(lines) + "\n")
    found = verdict(claims, test, tmp_path)
    assert found.outcome == outcome
    assert found.text.startswith("upstream layer 3 60.0 [")


def test_intervals_of_shares_and_of_their_difference() -> None:
    """Newcombe (1998), his example of 56/70 against 48/80: difference 0.2, interval 0.0524 to 0.3339 (method 10)."""
    sys.path.insert(0, str(SCRIPTS))
    from claims_tests import difference, wilson

    found = difference(wilson(100 * 48 / 80, 80), wilson(100 * 56 / 70, 70))
    assert found == Interval(
        value=pytest.approx(20), low=pytest.approx(5.24, abs=0.01), high=pytest.approx(33.39, abs=0.01)
    )


def test_folders_without_a_result_are_named(
    claims: ModuleType, made: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = made("first")
    for folder in (tmp_path / "exp" / "broken", home / "evaluations" / "broken"):
        folder.mkdir(parents=True)
        (folder / "result.json").write_text("{}")
    made("e", folder=home / "evaluations" / "whole")
    claims.main([str(tmp_path / "exp"), "--out", str(tmp_path / "page.md")])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[1].strip() for line in lines[:-1]] == [
        str(tmp_path / "exp" / "broken"), str(home / "evaluations" / "broken"),
    ]  # fmt: skip
    assert lines[-1].endswith("2 runs of real speech, 0 of synthetic speech left out")
    runs, *_ = claims.find_runs([home / "evaluations" / "whole" / "result.json"])
    assert [(run.name, run.training.run_id) for run in runs] == [("first on whole", "first")]


def test_mistakes_in_the_file_and_in_the_call_are_explained(claims: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"there is no folder .*nowhere"):
        claims.main([str(tmp_path / "nowhere"), "--out", str(tmp_path / "page.md")])
    claim = "id: x, claim: c, source: s, verified: true, recipe: r"
    for text, message in {
        "id: x": "x: missing claim, recipe",
        f"{claim}, tests: [{{kind: feeling}}]": "no test is of kind",
        f"{claim}, tests: [{{kind: better}}]": "needs first, metric",
        f"{claim}, tests: [{{kind: published, says: s, title: t, system: s, size: 1h}}]": "has no setting size",
    }.items():
        (tmp_path / "claims.yaml").write_text(f"- {{title: t, claims: [{{{text}}}]}}")
        with pytest.raises(SystemExit, match=message):
            claims.main(["--claims", str(tmp_path / "claims.yaml"), "--out", str(tmp_path / "page.md")])
    assert not (tmp_path / "page.md").exists()
