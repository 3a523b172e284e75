"""Whether data suit a task and a model: phones or words, the languages, the tokens."""

from __future__ import annotations

import logging
from collections import Counter

import pandas as pd

from mlsuperb.data.corpora.base import Corpus
from mlsuperb.data.manifest import each_record
from mlsuperb.data.vocabulary import Vocabulary, unknown_among
from mlsuperb.runtime import ranks
from mlsuperb.tasks.base import Task
from mlsuperb.types import Utterance

log = logging.getLogger(__name__)


def languages_of(train: pd.DataFrame, task: Task) -> tuple[str, ...]:
    """Those of the training data; where a task names languages, one alone is warned of."""
    found = tuple(sorted(set(train["language"])))
    if task.has_language and len(found) == 1:
        log.warning(
            "all training data are in one language (%s), so a model of task=%s gives that language to any speech, and its "
            "language accuracy says nothing. Train on several languages (data.languages), or on the text alone with task=asr",
            found[0], task.name,
        )  # fmt: skip
    return found


def check_phones(task: Task, corpus: Corpus, manifest: pd.DataFrame) -> None:
    """Refuse words where a task takes phones; warn where it has no use for the phones of `data.phones`.

    Raises:
        ValueError: the texts are words.
    """
    if task.has_text:
        task.check_texts(manifest["text"])
    elif corpus.phones is not None and ranks.is_main():
        log.warning(
            "task=%s recognises no text: data.phones does nothing but leave out the utterances that have no phones. Remove it "
            "(~data.phones), or choose task=asr or task=asr_lid",
            task.name,
        )


def warn_of_unknown_tokens(task: Task, vocabulary: Vocabulary, test: pd.DataFrame) -> None:
    """Warn where much of the references is no token of the model, as with another set of phones or another script."""
    if not task.has_text or not ranks.is_main():
        return
    rows = each_record(test, Utterance)
    units = Counter(unit for one in rows for unit in task.target(one) if unit != f"[{one.language}]")
    if found := unknown_among(units, frozenset(vocabulary.tokens), what=f"{task.facts.unit}s"):
        log.warning(
            "%s are no tokens of the model, so that each of them is an error whatever it recognises: are these data in the "
            "script or the set of phones that it was trained on?",
            found,
        )
