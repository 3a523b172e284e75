"""A tokenizer of letters, for models that are trained from nothing."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import SimpleNamespace

SPECIAL = ("<pad>", "<unk>", "<s>", "</s>")  # as SeamlessM4T's tokens 0 to 3
_LAST_OF_LATIN = 0x250  # phonetic letters follow
_LETTERS = range(0x20, 0x3100)  # of alphabets; characters of Chinese lie behind
_SIGNS = " 0123456789.,;:!?'\"()-–—«»„“”"


def scripts_without_letters(scripts: Collection[str]) -> list[str]:
    """Those that no letter is named by."""
    letters = (letter for letter in map(chr, _LETTERS) if unicodedata.category(letter)[0] == "L")
    known = {unicodedata.name(letter).split()[0] for letter in letters}
    return [script for script in scripts if script not in known]


@dataclass
class Letters:
    """One token for each letter of some scripts, and one for each language; what a translator asks of transformers' tokenizers.

    Args:
        scripts: first words of the letters' Unicode names: LATIN, GREEK, GEORGIAN, DEVANAGARI, ...
        languages: ISO 639-3 codes, each `__code__`.
    """

    scripts: Collection[str]
    languages: Sequence[str]
    _numbers: dict[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        letters = [letter for letter in map(chr, _LETTERS) if self._has(letter)]
        tokens = [*SPECIAL, *_SIGNS, *letters, *(f"__{code}__" for code in self.languages)]
        self._numbers = {token: number for number, token in enumerate(dict.fromkeys(tokens))}

    def _has(self, letter: str) -> bool:
        script = unicodedata.name(letter, "?").split()[0]
        plain = script != "LATIN" or ord(letter) < _LAST_OF_LATIN
        return plain and script in (*self.scripts, "COMBINING") and unicodedata.category(letter)[0] in "LM"

    @property
    def unk_token_id(self) -> int:
        """The token of letters of other scripts."""
        return self._numbers["<unk>"]

    def __len__(self) -> int:
        return len(self._numbers)

    def __call__(self, text: str, *, add_special_tokens: bool = False) -> SimpleNamespace:
        """`input_ids`: a token for each letter, `<unk>` for those of other scripts."""
        unknown = self.unk_token_id
        return SimpleNamespace(
            input_ids=[self._numbers.get(letter, unknown) for letter in unicodedata.normalize("NFC", text)]
        )

    def convert_tokens_to_ids(self, token: str) -> int:
        """The number of a token."""
        return self._numbers[token]

    def decode(self, tokens: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        """The text of tokens, special ones and languages left out."""
        return "".join(letter for one in tokens if len(letter := self._texts[one]) == 1)

    @cached_property
    def _texts(self) -> list[str]:
        return list(self._numbers)
