"""The script that calls every recipe: which of them `--only` takes."""

from __future__ import annotations

from tests.script_module import script_module


def test_recipes_that_show_the_runs_of_another_bring_it_along() -> None:
    with script_module("check_recipes") as script:
        row = next(chain for chain in script.CHAINS if any(one.has_runs for one in chain))
        assert [one.name for one in script.chosen(row, ["lid"])] == ["all_v1", "lid"]
        assert [one.name for one in script.chosen(row, ["all_v1"])] == ["all_v1"]
        assert script.chosen(row, ["v2"]) == []
        assert script.chosen(row, None) == list(row)
