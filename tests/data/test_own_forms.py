"""The same utterances come out of every form of a user's own data, by one setting."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from own_forms import DURATION_S, FORMS, ROWS, settings_of

from mlsuperb.commands.settings import configured
from mlsuperb.data.corpora.hf import HubData
from mlsuperb.data.manifest import records
from mlsuperb.data.prepared import prepare
from mlsuperb.types import Utterance

CODES = {"de": "deu", "sw": "swa"}
EXPECTED = [
    (split.replace("validation", "dev"), text, CODES[label], speaker, DURATION_S)
    for split, rows in ROWS.items()
    for _, text, label, speaker in rows
]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_utterances(form: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    corpus = configured(settings_of(form, tmp_path / "data"), "data")[1]
    if isinstance(corpus, HubData):
        corpus = replace(corpus, audio_folder=str(tmp_path / "written"))
    prepared = prepare(corpus, folder=None)
    rows = records(prepared.manifest, Utterance)
    found = [(row.split, row.text, row.language, row.speaker, round(row.duration_s, 6)) for row in rows]
    assert sorted(found) == sorted(EXPECTED)
    assert prepared.skipped == {}
    told = [record.message for record in caplog.records if record.message.startswith("languages: ")]
    assert len(told) == 1
    assert told[0].startswith("languages: de = deu (German), sw = swa (Swahili (macrolanguage)). Correct one with")
