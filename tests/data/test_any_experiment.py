"""Experiments take any corpus, and a folder that is read is not written to."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlsuperb.config.check import find_problems
from mlsuperb.config.compose import compose

OWN = ["data=table", "data.path=no.csv"], ["data=kaldi", "data.root=no"], ["data=hf", "data.path=no/body"]


@pytest.mark.parametrize("words", [*OWN, ["data=lhotse", "data.root=no"], ["data=common_voice", "data.root=no"]])
def test_the_experiment_for_real_speech_takes_own_data(words: list[str]) -> None:
    found = find_problems(compose(["+exp=real_speech", *words]), groups=("data",))
    assert not [one for one in found if "few_shot" in one]


def test_what_only_ml_superb_has_is_refused_elsewhere() -> None:
    (found,) = find_problems(compose(["data=hf", "data.path=a/b", "+data.few_shot=official"]), groups=("data",))
    assert found.startswith("data.few_shot='official' should be 'all'")


def test_made_speech_is_not_written_into_a_corpus(tmp_path: Path) -> None:
    words = ["+exp=demo", f"data.root={tmp_path}"]
    (tmp_path / "4a3a62c6").mkdir()
    (tmp_path / "notes.txt").write_text("of mine")
    assert not find_problems(compose(words), groups=("data",))
    (tmp_path / "commonvoice" / "fas").mkdir(parents=True)
    (tmp_path / "commonvoice" / "fas" / "transcript_10min_dev.txt").write_text("")
    (found,) = find_problems(compose(words), groups=("data",))
    assert (
        "holds a corpus (commonvoice/fas/transcript_10min_dev.txt), and data=synthetic would write its speech" in found
    )
