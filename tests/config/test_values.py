"""Values on a command line that Hydra's grammar does not read as they are: paths, above all."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from mlsuperb.config.compose import as_texts, compose

ROOT = Path(__file__).resolve().parents[2]
PATHS = (
    *(
        "hyd/josé",
        "a=b",
        "数据/x",
        "/x(1)",
        "foo(1)",
        "a#b",
        "~/x",
        "!x",
        "a&b",
        "it's",
        "a\\'b",
        "a;b",
        "a{b}",
        'say "x"',
    ),
    *("a b$c%d@e:f", "/plain/path_1.2-3"),
)


def read(word: str) -> object:
    """What Hydra makes of a word."""
    return OverridesParser.create().parse_override(word).value()


def test_paths_are_taken_as_they_are() -> None:
    assert [read(word) for word in as_texts([f"data.root={path}" for path in PATHS])] == list(PATHS)
    assert compose(["data=kaldi", "data.root=数据/a=b(1)"])["data"]["root"] == "数据/a=b(1)"


def test_what_hydra_reads_is_left_as_it_is() -> None:
    given = [
        "seed=1,2",
        "data.languages=[deu,nan]",
        "~data.root",
        "+exp=v1/lid",
        "data.root='a=b'",
        "-m",
        "upstream=${x}",
    ]
    assert as_texts(given) == given


@pytest.mark.parametrize("value", ["a=b,c", "[é", "{x", "é,b"])
def test_what_may_be_a_list_is_answered_with_its_quoted_form(value: str) -> None:
    with pytest.raises(ValueError, match=r"cannot be read .*quote it for Hydra and for the shell: ") as raised:
        compose([f"data.root={value}"])
    [word] = subprocess.run(
        ["bash", "-c", f"printf '%s' {str(raised.value).rpartition('shell: ')[2]}"], capture_output=True, text=True, check=True
    ).stdout.splitlines()  # fmt: skip
    assert read(word) == value


def test_recipes_quote_paths() -> None:
    paths = [*PATHS, "a,b", "[x]", "2024", "end\\"]
    script = 'source recipes/common.sh; for path in "$@"; do path_word data.root "$path"; printf "\\n"; done'
    done = subprocess.run(
        ["bash", "-c", script, "lid.sh", *paths], capture_output=True, text=True, cwd=ROOT, check=True
    )
    words = done.stdout.splitlines()
    assert words[PATHS.index("/plain/path_1.2-3")] == "data.root=/plain/path_1.2-3"
    assert list(map(read, words)) == paths
