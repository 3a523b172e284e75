"""The built-in corpus: an ML-SUPERB tree of synthetic speech, made on first use, to stand in for ML-SUPERB."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from itertools import chain, islice, zip_longest
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

from pydantic import PositiveFloat

from mlsuperb.data.corpora.base import Corpus
from mlsuperb.data.corpora.ml_superb import MLSuperb, Mono, mono_problems
from mlsuperb.data.corpora.ml_superb_release import Pair, few_shot_ids, mono_settings
from mlsuperb.data.skips import SkipReport
from mlsuperb.data.synthesis.espeak import missing_packages
from mlsuperb.data.synthesis.languages import STAND_INS, language_problem
from mlsuperb.data.synthesis.phones import write_phones
from mlsuperb.data.synthesis.recording import CONDITIONS
from mlsuperb.data.synthesis.tree import LARGE_MINUTES, SMALL_MINUTES, TreeSettings, make_tree
from mlsuperb.runtime.lines import read_lines
from mlsuperb.types import Utterance

# Four scripts, regular spelling, none of the few-shot ones
DEFAULT_LANGUAGES = ("deu", "ell", "hin", "kat", "spa", "swa")
NUM_FEW_SHOT = 5  # training utterances of a reserved language, as in ML-SUPERB


@dataclass(kw_only=True)
class Synthetic(Corpus):
    """espeak-ng reading random words (see `mlsuperb.data.synthesis`). The same settings give the same bytes; what is
    made for one language does not depend on the others, and corpora of the same minutes and seed share it.

    Args:
        root: where the trees are kept, one sub-folder for each outcome.
        size: which training list is read.
        minutes: of training speech for each (language, dataset); null for 10, or 60 where `size` is `1h`.
        test_minutes: of dev speech and of test speech for each (language, dataset).
        languages: ISO 639-3 codes out of those that espeak-ng speaks (`synthesis.languages.LANGUAGES`); null for the default six.
        datasets: recording conditions: `studio`, `phone`, `room`; null for `studio`, and for all three where `mono` or
            `train_datasets` is set.
        pairs: only these [language, dataset] pairs, in place of the default languages and datasets.
        few_shot: `official` leaves each of ML-SUPERB's 20 reserved languages its first five training utterances, taken
            from its datasets in turn; `all` trains on everything.
        train_datasets: train and dev come from these datasets only; test keeps all.
        mono: a run of the monolingual track, by the same names as ML-SUPERB's: trains on one recording condition of the
            language (`mono_pair`), tests on all.
        seed: another one gives other sentences, read by the same speakers.
    """

    synthetic: ClassVar[bool] = True

    root: str = "data/synthetic"
    size: Literal["10min", "1h"] = "10min"
    minutes: PositiveFloat | None = None
    test_minutes: PositiveFloat = 3.0
    few_shot: Literal["official", "all"] = "official"  # type: ignore[assignment]
    train_datasets: list[str] | None = None
    mono: Mono | None = None
    seed: int = 0
    _stand_ins: dict[str, tuple[str, str]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        asked = [*(self.languages or []), *(pair[0] for pair in self.pairs or [] if pair)]
        asked += [mono_pair(self.mono)[0]] if self.mono else []
        self._stand_ins = {code: STAND_INS[code] for code in asked if isinstance(code, str) and code in STAND_INS}
        self.languages = self.languages and [self._spoken(code) for code in self.languages]
        self.pairs = self.pairs and [[self._spoken(code) for code in pair[:1]] + pair[1:] for pair in self.pairs]

    @classmethod
    def problems(cls, **settings: Any) -> list[str]:
        found = super().problems(**settings)
        pairs = settings.get("pairs") or []
        if not found:
            languages = list(settings.get("languages") or ())
            found += _language_problems({"data.languages": languages, "data.pairs": [code for code, _ in pairs]})
        datasets = [*(settings.get("datasets") or ()), *(settings.get("train_datasets") or ())]
        datasets += [pair[1] for pair in pairs if len(pair) == 2]
        found += [_dataset_problem(name) for name in datasets if name not in CONDITIONS]
        found += mono_problems(settings)
        if (settings.get("minutes") or 0) > SMALL_MINUTES and settings.get("size", "10min") == "10min":
            found.append(
                f"data.minutes={settings['minutes']}: the 10min list holds {SMALL_MINUTES:g} minutes. Add data.size=1h."
            )
        found += _root_problems(Path(settings.get("root", cls.root)))
        return found + missing_packages("data=synthetic")

    def stand_ins(self) -> dict[str, tuple[str, str]]:
        return self._stand_ins

    def wants(self, language: str, dataset: str) -> bool:
        return (language, dataset) in self._wanted()

    def sources(self) -> list[Path]:
        """The folders of the wanted pairs, each of which is there when it is whole."""
        settings, root = self._tree_settings(), Path(self.root)
        return [settings.pair_folder(root, language=code, dataset=dataset) for code, dataset in self._wanted()]

    def rows(self, skipped: SkipReport) -> Iterator[Utterance]:
        wanted = self._wanted()
        tree = make_tree(Path(self.root), self._tree_settings(), pairs=wanted)
        given = {one.name: getattr(self, one.name) for one in fields(Corpus) if one.name not in _CHOICES}
        trained_on = self._train_datasets()
        reader = _Tree(
            root=str(tree),
            size=self.size,
            few_shot="all" if self.mono else self.few_shot,
            train_datasets=trained_on,
            pairs=[list(pair) for pair in wanted],
            kept=_few_shot(tree, [pair for pair in wanted if trained_on is None or pair[1] in trained_on], self.size),
            **given,
        )
        return reader.rows(skipped)

    def write_phones(self) -> list[Path]:
        """Write where each phone is spoken, `phones.tsv` in the folder of every wanted pair, and return the files.

        Raises:
            ValueError: the corpus has not been made yet.
        """
        return write_phones(Path(self.root), self._tree_settings(), pairs=self._wanted())

    def _wanted(self) -> list[Pair]:
        """Every (language, dataset) pair that the settings ask for."""
        if self.pairs:
            pairs = [(language, dataset) for language, dataset in self.pairs]
            return sorted({pair for pair in pairs if super(Synthetic, self).wants(*pair)})
        everywhere = self.mono or self.train_datasets
        datasets = self.datasets or (list(CONDITIONS) if everywhere else ["studio"])
        languages = [self._spoken(mono_pair(self.mono)[0])] if self.mono else self.languages or DEFAULT_LANGUAGES
        return sorted({(language, dataset) for language in languages for dataset in datasets})

    def _train_datasets(self) -> list[str] | None:
        return [mono_pair(self.mono)[1]] if self.mono else self.train_datasets

    def _spoken(self, code: str) -> str:
        """The language that is spoken where `code` is asked for."""
        return self._stand_ins[code][0] if code in self._stand_ins else code

    def _tree_settings(self) -> TreeSettings:
        default = SMALL_MINUTES if self.size == "10min" else LARGE_MINUTES
        return TreeSettings(
            minutes=float(self.minutes or default), test_minutes=float(self.test_minutes), seed=self.seed
        )


_CHOICES = ("languages", "datasets", "pairs", "few_shot")
_OF_A_CORPUS = ("*/*/transcript_*.txt", "*.csv", "*.tsv", "*.parquet", "wav.scp", "*/wav.scp")  # by its lists


@dataclass(kw_only=True)
class _Tree(MLSuperb):
    """The reader of a made tree, which knows the few-shot utterances of its own."""

    kept: dict[str, frozenset[str]]

    def _few_shot(self, language: str) -> frozenset[str] | None:
        return None if self.few_shot == "all" else self.kept.get(language)


def mono_pair(name: Mono) -> Pair:
    """(language, training dataset) of a run of the monolingual track: a language with several runs trains on `studio`,
    `phone` and `room` in their order, one with a single run on `studio`."""
    assert name in get_args(Mono), name
    language = mono_settings()[name][0]
    runs = [other for other, (code, _) in mono_settings().items() if code == language]
    return language, list(CONDITIONS)[runs.index(name)]


def _root_problems(root: Path) -> list[str]:
    """Whether a corpus lies where speech would be written."""
    found = next((path for pattern in _OF_A_CORPUS for path in root.glob(pattern) if root.is_dir()), None)
    if found is None:
        return []
    return [
        f"data.root={root} holds a corpus ({found.relative_to(root)}), and data=synthetic would write its speech there. To read "
        "it, name its reader, such as data=ml_superb_10min (mlsuperb data new FOLDER finds it); else give another folder."
    ]


def _few_shot(tree: Path, pairs: Iterable[Pair], size: str) -> dict[str, frozenset[str]]:
    """The training ids that each reserved language of `pairs` keeps."""
    lists: dict[str, list[list[str]]] = {}
    for language, dataset in pairs:
        if language in few_shot_ids():
            lines = read_lines(tree / dataset / language / f"transcript_{size}_train.txt")
            lists.setdefault(language, []).append([line.split("\t")[0] for _, line in lines])
    in_turn = {language: chain.from_iterable(zip_longest(*ids)) for language, ids in lists.items()}
    return {language: frozenset(islice(filter(None, ids), NUM_FEW_SHOT)) for language, ids in in_turn.items()}


def _language_problems(named: dict[str, list[str]]) -> Iterator[str]:
    """What is wrong with the languages of each setting."""
    codes = [code for asked in named.values() for code in asked]
    for setting, asked in named.items():
        for code in asked:
            if code not in STAND_INS:
                if problem := language_problem(code, setting=setting):
                    yield problem
            elif (other := STAND_INS[code][0]) in codes:
                yield (
                    f"{setting}: {other!r} stands in for {code!r} in the built-in corpus, so that one of them can be asked "
                    "for; leave the other out."
                )


def _dataset_problem(name: str) -> str:
    near = get_close_matches(str(name), CONDITIONS, n=1, cutoff=0.0)
    return (
        f"data.datasets: the built-in corpus has no dataset {name!r}. Did you mean {near[0]!r}? "
        f"It records in these ways: {', '.join(CONDITIONS)}."
    )
