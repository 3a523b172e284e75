"""Speech and parallel text as a translator is trained and tested on them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mlsuperb.config.build import instantiate
from mlsuperb.data.dataset import SpeechDataset
from mlsuperb.data.loading import Loading
from mlsuperb.data.prepared import prepare
from mlsuperb.data.sampling import Replay
from mlsuperb.data.skips import SkipReport
from mlsuperb.data.text_dataset import TextDataset
from mlsuperb.runs.corpus import prepared_corpus, test_rows
from mlsuperb.runs.decoding import batches_of_rank
from mlsuperb.runs.identity import signature
from mlsuperb.runtime import ranks
from mlsuperb.translation.lengths import leave_out_long, refuse_long_speech
from mlsuperb.translation.translator import Translator
from mlsuperb.types import TextPair, Utterance

log = logging.getLogger(__name__)

TRAIN, DEV, TEST = "train", "dev", "test"
_NUM_LOOKED_AT, _MOST_UNKNOWN, _MANY_UNKNOWN = 1000, 0.25, 0.01  # texts; shares of their tokens


@dataclass(frozen=True, kw_only=True)
class Side:
    """Training and validation examples of speech or of text, and how they are loaded."""

    train: Any
    dev: Any
    loading: Loading

    def validation(self) -> Iterable[Any]:
        """Batches of the validation examples: of speech those of this rank, of text, which is little work, all on every rank."""
        if isinstance(self.dev, SpeechDataset):
            return batches_of_rank(self.dev, self.loading).loader
        return self.loading.inference(self.dev)


@dataclass(frozen=True, kw_only=True)
class ScoredText:
    """Parallel text that a translator is scored on: pairs of a split, and how they are loaded."""

    split: str
    pairs: pd.DataFrame
    targets: TargetTokens
    pad: int
    loading: Loading

    def dataset(self, pairs: pd.DataFrame) -> TextDataset:
        """Some of the pairs as tokens."""
        return TextDataset(pairs, tokenise=self.targets.of_text, pad=self.pad)


@dataclass(frozen=True, kw_only=True)
class Data:
    """What is trained on, by `speech` and `text`; the rows to test on, with the record of their corpus; that of the text, and
    what of it is scored (None, where no text is chosen); `old`: speech of languages that are to be kept, which is not trained on.
    """

    sides: Mapping[str, Side]
    test: pd.DataFrame
    record: dict[str, Any]
    text_record: dict[str, Any] = field(default_factory=dict)
    text: ScoredText | None = None
    resample: bool = True
    old: SpeechDataset | None = None


def read_corpora(config: Mapping[str, Any]) -> tuple[pd.DataFrame, dict[str, Any], pd.DataFrame | None, dict[str, Any]]:
    """Manifests and records of speech and of parallel text (None, where none is chosen)."""
    corpus = instantiate(config["data"])
    spoken, record = prepared_corpus(corpus, config)
    speech = spoken.manifest
    if not config.get("text"):
        return speech, record, None, {}
    reader = instantiate(config["text"])
    folder = Path(config["manifests"]) / f"text-{config['text']['name']}-{signature({'text': config['text']})}"
    prepared = ranks.main_first(lambda: prepare(reader, folder=folder))
    pairs = prepared.manifest
    splits = {str(split): {"num_pairs": len(rows)} for split, rows in pairs.groupby("split", sort=True)}
    directions = sorted(set(pairs["source_language"] + "-" + pairs["target_language"]))
    return speech, record, pairs, {
        "name": config["text"]["name"], "splits": splits, "directions": directions, "skipped": prepared.skipped,
    }  # fmt: skip


def build_data(config: Mapping[str, Any], translator: Translator) -> Data:
    """The data of a configuration, tokens of a translator as its targets.

    Raises:
        ValueError: a split is empty, a language has no token, or an utterance to decode is too long.
    """
    speech, record, pairs, text_record = read_corpora(config)
    sides: dict[str, Side] = {}
    old = None
    if "speech" in config["train_on"]:
        sides["speech"], old = _speech_side(config, translator, speech, record)
    if "text" in config["train_on"]:
        assert pairs is not None, "misfits refuses it"
        sides["text"] = _text_side(config, translator, pairs, text_record)
    corpus = instantiate(config["data"])
    test = test_rows(corpus, speech, record=record)
    if instantiate(config["search"]).language == "given":
        check_languages(translator.prefix, test["language"])
    refuse_long_speech(translator, test)
    text = None if pairs is None else _scored_text(config, pairs, translator, text_record)
    return Data(
        sides=sides, test=test, record=record, text_record=text_record, text=text, resample=corpus.resample, old=old
    )


def _scored_text(
    config: Mapping[str, Any], pairs: pd.DataFrame, translator: Translator, record: dict[str, Any]
) -> ScoredText:
    """The test pairs; where there are none, those of validation."""
    split = TEST if (pairs["split"] == TEST).any() else DEV
    # those of validation are counted where they are validated with
    counted = record["skipped"] if split == TEST or "text" not in config["train_on"] else {}
    chosen = _usable_pairs(config, pairs, split, translator, SkipReport(counted)).reset_index(drop=True)
    return ScoredText(
        split=split, pairs=chosen, targets=TargetTokens(translator), pad=translator.pad,
        loading=instantiate(config["text_loading"]),
    )  # fmt: skip


def data_to_decode(config: Mapping[str, Any]) -> Data:
    """The utterances to test on alone."""
    speech, record, _, _ = read_corpora({**config, "text": None})
    corpus = instantiate(config["data"])
    test = test_rows(corpus, speech, record=record)
    return Data(sides={}, test=test, record=record, resample=corpus.resample)


def _speech_side(
    config: Mapping[str, Any], translator: Translator, speech: pd.DataFrame, record: dict[str, Any]
) -> tuple[Side, SpeechDataset | None]:
    """Speech to train on and to validate with; beside it training speech of the languages of `preservation`, which are in
    neither. Where old languages are replayed, the validation is of the new ones."""
    name, loading = config["data"]["name"], instantiate(config["loading"])
    rows = _usable(speech[speech["split"].isin((TRAIN, DEV)) & (speech["text"].str.strip() != "")], translator, record)
    kept = (config.get("preservation") or {}).get("languages", [])
    learnt, old = rows[~rows["language"].isin(kept)], rows[rows["language"].isin(kept) & (rows["split"] == TRAIN)]
    if absent := sorted(set(kept) - set(old["language"])):
        raise ValueError(
            f"preservation.languages: data={name} has no training utterance of {', '.join(absent)}. Add them to data.languages, "
            "or leave them out"
        )
    validated = (
        learnt[learnt["language"].isin(loading.sampling.new)] if isinstance(loading.sampling, Replay) else learnt
    )
    parts = {TRAIN: _split(learnt, TRAIN, what="data", name=name), DEV: _split(validated, DEV, what="data", name=name)}
    check_letters(translator, parts[TRAIN]["text"], where=f"transcripts of data={name}")
    tokens, resample = TargetTokens(translator).of_speech, instantiate(config["data"]).resample
    made = {split: loading.dataset(part, encode=tokens, resample=resample) for split, part in parts.items()}
    side = Side(**made, loading=loading)
    return side, loading.dataset(old, encode=tokens, resample=resample) if kept else None


def _usable(rows: pd.DataFrame, translator: Translator, record: dict[str, Any]) -> pd.DataFrame:
    """Utterances with a language that the model has, without those that are too long for it, which are counted."""
    targets = TargetTokens(translator)
    check_languages(translator.prefix, rows["language"])
    report = SkipReport(record["skipped"])
    kept = [
        leave_out_long(part, translator, texts=["text"], tokens=lambda row: targets.of_speech(row)[:-1], report=report)
        for _, part in rows.groupby("split", sort=False)
    ]
    return pd.concat(kept) if kept else rows


def _text_side(config: Mapping[str, Any], translator: Translator, pairs: pd.DataFrame, record: dict[str, Any]) -> Side:
    targets, report = TargetTokens(translator), SkipReport(record["skipped"])
    made = {}
    for split in (TRAIN, DEV):
        rows = _usable_pairs(config, pairs, split, translator, report)
        check_letters(translator, rows["target"], where=f"targets of text={config['text']['name']}")
        made[split] = TextDataset(rows, tokenise=targets.of_text, pad=translator.pad)
    return Side(**made, loading=instantiate(config["text_loading"]))


def _usable_pairs(
    config: Mapping[str, Any], pairs: pd.DataFrame, split: str, translator: Translator, report: SkipReport
) -> pd.DataFrame:
    """Pairs of a split in languages that the model has, without those that are too long for it, which are counted."""
    targets, name = TargetTokens(translator), config["text"]["name"]
    rows = _split(pairs, split, what="text", name=name)
    _check_directions(translator, rows)
    kept = leave_out_long(
        rows, translator, texts=["source", "target"], tokens=lambda row: max(targets.of_text(row), key=len)[:-1],
        report=report,
    )  # fmt: skip
    return _split(kept, split, what="text", name=name)


def test_dataset(data: Data, loading: Loading) -> SpeechDataset:
    """The utterances to test on."""
    return loading.dataset(data.test, encode=None, resample=data.resample)


def batches_of(data: Data, *, seed: int) -> Callable[[int], Iterator[Any]]:
    """Training batches from an iteration on: of the one side there is, or of both in turn."""
    streams = [side.loading.training(side.train, seed=seed) for side in data.sides.values()]
    if len(streams) == 1:
        return streams[0]

    def alternating(start: int) -> Iterator[Any]:
        num = len(streams)
        # the next iteration of stream k after `start` ones of all is how often its turn has come
        iterators = [stream((start + num - 1 - at) // num) for at, stream in enumerate(streams)]
        while True:
            yield next(iterators[start % num])
            start += 1

    return alternating


class TargetTokens:
    """Targets and sources as arrays of tokens; worker processes have to be forked, since they share the translator."""

    def __init__(self, translator: Translator) -> None:
        self._of = translator

    def of_speech(self, utterance: Utterance) -> np.ndarray:
        """(U,): prefix, transcript, end."""
        return np.array(self._of.target(utterance.text, utterance.language), np.int64)

    def of_text(self, pair: TextPair) -> tuple[np.ndarray, np.ndarray]:
        """(S,) source and (U,) target."""
        source = self._of.source_tokens(pair.source, pair.source_language)
        return np.array(source, np.int64), np.array(self._of.target(pair.target, pair.target_language), np.int64)


def _split(rows: pd.DataFrame, split: str, *, what: str, name: str) -> pd.DataFrame:
    chosen = rows[rows["split"] == split]
    if chosen.empty:
        raise ValueError(f"{what}={name} has no {split} part after filtering: look at the settings {what}.*")
    return chosen


def _check_directions(translator: Translator, pairs: pd.DataFrame) -> None:
    check_languages(translator.prefix, pairs["target_language"])
    check_languages(lambda code: translator.source_tokens("", code), pairs["source_language"])


def check_languages(tokens: Callable[[str], Any], codes: Iterable[str]) -> None:
    """Try every language of some rows.

    Args:
        tokens: what the model makes of a language.

    Raises:
        ValueError: it does not have one of them.
    """
    for code in sorted(set(codes)):
        tokens(code)


def check_letters(translator: Translator, texts: pd.Series, *, where: str) -> None:
    """Look at some texts to train on for what the tokenizer cannot write.

    Raises:
        ValueError: it writes more than a quarter of their tokens as `<unk>` (a word of an unknown script can be one of these
            behind the token of a space); where it is more than one in a hundred, with a warning instead.
    """
    some_texts = texts.iloc[:: max(1, len(texts) // _NUM_LOOKED_AT)]
    tokens = [token for text in some_texts for token in translator.tokens(text)]
    share = tokens.count(translator.tokenizer.unk_token_id) / max(1, len(tokens))
    if share > _MOST_UNKNOWN:
        raise ValueError(
            f"{where}: the model's tokenizer writes {share:.0%} of the tokens as <unk>, such as of {some_texts.iloc[0]!r}: it "
            "does not know this script. Choose another model, or, with model=seamless_new, name the script in model.scripts"
        )
    if share > _MANY_UNKNOWN:
        log.warning("%s: the model's tokenizer writes %.1f %% of the tokens as <unk>", where, 100 * share)
