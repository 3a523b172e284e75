"""What a translator is worth on parallel text, without speech: bits per character of the targets, and translations.

Bits per character are the nats of each target's text and end token under the model, given its source and language, over ln 2
and over the characters of the targets (code points in NFC, spaces among them). The language token, which the decoder is given,
costs nothing. They can be compared between models of different tokenizers, as far as these know all letters: one that
writes `<unk>` says less than the text.

chrF and BLEU are sacrebleu's corpus scores, a mean over the directions (`eng-ory`) of the pairs.
Letters: B batch, N pairs.
"""

from __future__ import annotations

import json
import logging
import math
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from mlsuperb.data.loading import Loader
from mlsuperb.runtime import ranks
from mlsuperb.runtime.files import disk_errors_named, drop_cut_line, no_link, write_atomic
from mlsuperb.scoring.comparison.bootstrap import ratio_interval
from mlsuperb.scoring.counts import grouped
from mlsuperb.scoring.protocols.wer_cer import without_words
from mlsuperb.translation.data import ScoredText
from mlsuperb.translation.recogniser import TranslationRecogniser

log = logging.getLogger(__name__)

BITS = "text_bits_per_character"
TRANSLATIONS_FILE = "translations.jsonl"
INSTALL_HINT = 'pip install "mlsuperb[translation]"'

Translated = Mapping[str, str]  # id, languages, source, target, hypothesis


@dataclass(frozen=True, kw_only=True)
class TextScores:
    """`figures` of a result's `scores`, and what they are of, for its `text`."""

    figures: Mapping[str, float] = field(default_factory=dict)
    record: Mapping[str, Any] = field(default_factory=dict)


NO_TEXT = TextScores()


def score_text(recogniser: TranslationRecogniser, text: ScoredText, folder: Path) -> TextScores:
    """Bits per character of all pairs, and the translations of some, which are written to `translations.jsonl` in `folder`.
    All ranks take part; what a killed run had translated is not translated again."""
    characters_N = [len(unicodedata.normalize("NFC", target)) for target in text.pairs["target"]]
    figures = bits_per_character(target_nats(recogniser, text), characters_N)
    translates = recogniser.model.translator.translates
    rows = translate(recogniser, text, folder / TRANSLATIONS_FILE) if translates else []
    scores, about = chrf_and_bleu(rows) if rows else ({}, {})
    scored = {
        "split": text.split, "num_pairs": len(text.pairs), "num_characters": sum(characters_N), "translates": translates,
        "num_translations": len(rows), **about,
    }  # fmt: skip
    return TextScores(figures={**figures, **scores}, record={"scored": scored})


def bits_per_character(nats_N: Sequence[float], characters_N: Sequence[int]) -> dict[str, float]:
    """Over all targets, with the bounds of its 95 % bootstrap interval over targets (none of a single one)."""
    bits_N = [nats / math.log(2) for nats in nats_N]
    interval = ratio_interval(bits_N, characters_N)
    bounds = {f"{BITS}_low": interval.low, f"{BITS}_high": interval.high} if interval else {}
    return {BITS: math.fsum(bits_N) / sum(characters_N), **bounds}


def target_nats(recogniser: TranslationRecogniser, text: ScoredText) -> list[float]:
    """(N,): nats of each target (`TranslationModel.nats`), on every rank."""
    loader = text.loading.inference(text.dataset(text.pairs))
    batches = _deal(loader, lambda _: True)
    found: dict[int, float] = {}
    for rows, batch in zip(batches, loader, strict=True):
        found |= zip(rows, recogniser.nats(batch), strict=True)
    everywhere = {row: nats for part in ranks.gather(found) for row, nats in part.items()}
    return [everywhere[row] for row in range(len(text.pairs))]


def translate(recogniser: TranslationRecogniser, text: ScoredText, path: Path) -> list[Translated]:
    """Translate up to `search.num_translations` pairs, taken at equal distances from all, into `path`.

    What is there already, whole or in the parts that a killed run left beside it, is not translated again.
    """
    num = min(recogniser.search.num_translations, len(text.pairs))
    if not num:
        return []
    pairs = text.pairs.iloc[np.arange(num) * len(text.pairs) // num]
    asked: Any = pairs[["id", "source_language", "target_language", "source", "target"]].to_dict("records")
    done = ranks.from_main(lambda: _found(path, asked))
    loader = text.loading.inference(text.dataset(pairs))
    # batches stay as they are, so that an interrupted run ends with the same texts
    batches = _deal(loader, lambda rows: any(asked[row]["id"] not in done for row in rows))
    partial = path.with_name(f"{path.name}.partial{ranks.rank() or ''}")
    if batches:
        with disk_errors_named(partial), open(partial, "a", encoding="utf-8", opener=no_link) as file:
            for rows, batch in zip(batches, loader, strict=True):
                texts = zip((asked[row] for row in rows), recogniser.translations(batch), strict=True)
                new = [{**one, "hypothesis": hypothesis} for one, hypothesis in texts if one["id"] not in done]
                file.writelines(map(_line, new))
                file.flush()
                done |= {one["id"]: one for one in new}
    everywhere = {name: one for part in ranks.gather(done) for name, one in part.items()}
    ordered = [everywhere[one["id"]] for one in asked]
    if ranks.is_main():
        write_atomic(path, map(_line, ordered))
        for finished in _partials(path):
            finished.unlink()
    return ordered


def chrf_and_bleu(rows: Sequence[Translated]) -> tuple[dict[str, float], dict[str, Any]]:
    """`text_chrf` and `text_bleu`, each a mean over directions; and the scores and sacrebleu's signatures of each direction.
    Without sacrebleu both are empty, and the log says what to install.

    BLEU counts words as mteval-v13a does, in languages written without spaces characters.
    """
    try:
        from sacrebleu.metrics import BLEU, CHRF
    except ImportError:
        log.warning("no chrF and BLEU of the %d translations, for which there is an extra: %s", len(rows), INSTALL_HINT)
        return {}, {}
    found: dict[str, dict[str, Any]] = {}
    directions = grouped(rows, lambda one: (one["source_language"], one["target_language"]))
    for (source, target), members in directions.items():
        metrics = {"chrf": CHRF(), "bleu": BLEU(tokenize="char" if without_words(target) else "13a")}
        sides = [one["hypothesis"] for one in members], [[one["target"] for one in members]]
        scores = {name: float(metric.corpus_score(*sides).score) for name, metric in metrics.items()}
        signatures = {name: str(metric.get_signature()) for name, metric in metrics.items()}
        found[f"{source}-{target}"] = {"num_translations": len(members), **scores, "signatures": signatures}
    means = {f"text_{name}": fmean(one[name] for one in found.values()) for name in ("chrf", "bleu")}
    return means, {"directions": found}


def _deal(loader: Loader, wanted: Callable[[Sequence[int]], bool]) -> list[list[int]]:
    """Leave the loader those of its batches that are `wanted` and that this rank computes; returns the rows of each."""
    sampler: Any = loader.batch_sampler
    mine = [batch for batch in sampler.batches if wanted(batch.tolist())][ranks.rank() :: ranks.world()]
    sampler.batches = mine
    return [batch.tolist() for batch in mine]


def _line(one: Translated) -> str:
    return json.dumps(one, ensure_ascii=False) + "\n"


def _partials(path: Path) -> list[Path]:
    return sorted(path.parent.glob(f"{path.name}.partial*"))


def _found(path: Path, asked: Sequence[Mapping[str, str]]) -> dict[str, Translated]:
    """Translations of earlier starts, by their ids, of pairs that are asked for as they were then."""
    by_id = {one["id"]: one for one in asked}
    rows: list[dict[str, str]] = []
    for file in (path, *_partials(path)):
        if file.exists() and drop_cut_line(file):
            rows += map(json.loads, file.read_text(encoding="utf-8").rstrip("\n").split("\n"))
    return {
        one["id"]: one
        for one in rows
        if {key: value for key, value in one.items() if key != "hypothesis"} == by_id.get(one["id"])
    }
