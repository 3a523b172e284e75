from pathlib import Path

import pytest

from mlsuperb.data.vocabulary import Vocabulary
from mlsuperb.types import IGNORED

SPECIALS = ("<blank>", "<unk>", "<sos/eos>")


def test_layout_is_that_of_an_espnet_token_list() -> None:
    vocabulary = Vocabulary.build(["BAA", "BCA", ["<space>"]], specials=SPECIALS)
    assert vocabulary.tokens == ["<blank>", "<unk>", "A", "B", "C", "<space>", "<sos/eos>"]
    assert vocabulary.encode("ABZ").tolist() == [2, 3, 1]
    assert vocabulary.decode([2, 5]) == ["A", "<space>"]


def test_without_specials_an_unknown_token_is_ignored() -> None:
    vocabulary = Vocabulary.build([["[eng]"], ["[deu]"], ["[eng]"]], specials=())
    assert vocabulary.tokens == ["[eng]", "[deu]"]
    assert vocabulary.encode(["[deu]", "[fra]"]).tolist() == [1, IGNORED]


def test_round_trip_keeps_odd_characters(tmp_path: Path) -> None:
    vocabulary = Vocabulary.build(["\u2028a\u0085\u00a0", "ɓ़"], specials=SPECIALS)
    vocabulary.save(tmp_path / "tokens.txt")
    assert Vocabulary.load(tmp_path / "tokens.txt").tokens == vocabulary.tokens


def test_no_text_is_an_error_with_a_remedy() -> None:
    with pytest.raises(ValueError, match="no text to build a vocabulary from"):
        Vocabulary.build([], specials=SPECIALS)


def test_repeated_tokens_are_refused() -> None:
    with pytest.raises(ValueError, match="repeated: \\['a'\\]"):
        Vocabulary(["a", "b", "a"])
