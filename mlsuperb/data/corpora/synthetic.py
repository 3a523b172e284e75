"""The built-in corpus: an ML-SUPERB tree of synthetic speech, made on first use."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from pydantic import PositiveFloat

from mlsuperb.data.corpora.base import Corpus
from mlsuperb.data.corpora.ml_superb import MLSuperb
from mlsuperb.data.skips import SkipReport
from mlsuperb.data.synthesis.espeak import INSTALL_HINT
from mlsuperb.data.synthesis.languages import available_languages, language_problem
from mlsuperb.data.synthesis.tree import SMALL_MINUTES, TreeSettings, make_tree, tree_folder
from mlsuperb.data.synthesis.voices import conditions
from mlsuperb.types import Utterance

__all__ = ["DEFAULT_LANGUAGES", "Synthetic", "available_languages"]

DEFAULT_LANGUAGES = (
    "deu",
    "ell",
    "hin",
    "kat",
    "spa",
    "swa",
)  # four scripts, regular spelling, none of the few-shot ones


@dataclass(kw_only=True)
class Synthetic(Corpus):
    """espeak-ng reading random words (see `mlsuperb.data.synthesis`). The same settings give the same bytes; what is
    made for one language does not depend on the others.

    Args:
        root: where the trees are kept, one sub-folder for each outcome.
        languages: ISO 639-3 codes out of `available_languages()`; null for the default six.
        minutes: of training speech for each (language, dataset). Beyond 10 there is a 1h list, which is then read.
        test_minutes: of dev speech and of test speech for each (language, dataset).
        datasets: recording conditions: `studio`, `phone`, `room`; null for `studio`.
        seed: another one gives other sentences, read by the same speakers.
    """

    synthetic: ClassVar[bool] = True

    root: str = "data/synthetic"
    languages: list[str] | None = field(default_factory=lambda: list(DEFAULT_LANGUAGES))
    minutes: PositiveFloat = 10.0
    test_minutes: PositiveFloat = 3.0
    datasets: list[str] | None = field(default_factory=lambda: ["studio"])
    seed: int = 0

    @classmethod
    def problems(cls, **settings: Any) -> list[str]:
        found = super().problems(**settings)
        if not found:
            found += [problem for code in settings.get("languages") or () if (problem := language_problem(code))]
        found += [_dataset_problem(name) for name in settings.get("datasets") or () if name not in conditions()]
        absent = [name for name in ("espeakng_loader", "babel") if find_spec(name) is None]
        if absent:
            found.append(f"data=synthetic needs {' and '.join(absent)}, not installed here. Run: {INSTALL_HINT}")
        return found

    def sources(self) -> list[Path]:
        """The file that is written when the tree is whole."""
        return [tree_folder(Path(self.root), self._tree_settings()) / "settings.json"]

    def rows(self, skipped: SkipReport) -> Iterator[Utterance]:
        tree = make_tree(Path(self.root), self._tree_settings())
        shared = {shared_field.name: getattr(self, shared_field.name) for shared_field in fields(Corpus)}
        reader = MLSuperb(
            root=str(tree), size="10min" if self.minutes <= SMALL_MINUTES else "1h", few_shot="all", **shared
        )
        return reader.rows(skipped)

    def _tree_settings(self) -> TreeSettings:
        return TreeSettings(
            languages=tuple(self.languages or DEFAULT_LANGUAGES),
            datasets=tuple(self.datasets or ["studio"]),
            minutes=float(self.minutes),
            test_minutes=float(self.test_minutes),
            seed=self.seed,
        )


def _dataset_problem(name: str) -> str:
    near = get_close_matches(str(name), conditions(), n=1, cutoff=0.0)
    return (
        f"data.datasets: the built-in corpus has no dataset {name!r}. Did you mean {near[0]!r}? "
        f"It records in these ways: {', '.join(conditions())}."
    )
