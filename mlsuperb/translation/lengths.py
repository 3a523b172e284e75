"""Speech and text that are longer than a translator was made for."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence, Sized
from typing import Any

import pandas as pd

from mlsuperb.data.skips import SkipReport
from mlsuperb.runtime.messages import some
from mlsuperb.translation.translator import Translator

log = logging.getLogger(__name__)

_NUM_SPECIAL = 8  # tokens beside the text, at most
Tokens = Callable[[Any], Sized]  # of a row of a manifest


def leave_out_long(
    rows: pd.DataFrame, translator: Translator, *, texts: Sequence[str], tokens: Tokens, report: SkipReport
) -> pd.DataFrame:
    """Rows to train on or to validate without those that the model cannot compute, which are counted; where it computes
    positions beyond those of its training, all stay, and a line of the log says how many there are.

    Args:
        rows: of one split of a manifest.
        texts: columns of text.
        tokens: of a row, what has to fit into `max_tokens`.
    """
    speech = rows["duration_s"] > translator.max_speech_s if "duration_s" in rows else pd.Series(False, rows.index)
    rows = _without(rows, speech, f"longer than {translator.speech_limit}", translator, report)
    places = translator.max_tokens

    def is_long(row: Any) -> bool:
        # a token is a byte at least, so that only long texts have to be cut into tokens
        num_bytes = max(len(getattr(row, column).encode()) for column in texts)
        return num_bytes + _NUM_SPECIAL > places and len(tokens(row)) > places

    long = pd.Series([is_long(row) for row in rows.itertuples()], rows.index, dtype=bool)
    return _without(rows, long, f"text of more than the {places:,} tokens of the model's positions", translator, report)


def refuse_long_speech(translator: Translator, rows: pd.DataFrame) -> None:
    """Look at utterances to decode.

    Raises:
        ValueError: some are longer than the model can compute; where it computes more, with a warning instead.
    """
    if (long := rows[rows["duration_s"] > translator.max_speech_s]).empty:
        return
    named = some([f"{row.id} ({row.duration_s:.1f} s)" for row in long.itertuples()])
    what = f"{len(long):,} of {len(rows):,} utterances to decode are longer than {translator.speech_limit}: {named}"
    if not translator.extends:
        raise ValueError(f"{what}. Cut them into parts, or leave them out of the data")
    log.warning("%s; the model was not trained on that", what)


def _without(
    rows: pd.DataFrame, long: pd.Series, reason: str, translator: Translator, report: SkipReport
) -> pd.DataFrame:
    if not long.any():
        return rows
    named = (
        f"{int(long.sum()):,} of {len(rows):,} in {rows['split'].iloc[0]}: {reason} ({some(list(rows['id'][long]))})"
    )
    if translator.extends:
        log.warning("%s; the model was not trained on that", named)
        return rows
    log.warning("left out %s", named)
    return report.drop(rows, long, reason)
