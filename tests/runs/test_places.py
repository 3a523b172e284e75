from __future__ import annotations

import pytest

from mlsuperb.data.audio import joined, pieces_of
from mlsuperb.runs.places import audio_without_place, roots_of, without_places


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("/home/me/speech", "speech"),
        ("/home/me and you/speech data", "speech data"),
        ("data.root=/home/me and you/speech", "data.root=speech"),
        ("+text=[/home/me/a.tsv,'/home/me/b.tsv']", "+text=[a.tsv,'b.tsv']"),
        ("see /home/me/run.log, line 3", "see run.log, line 3"),
        ("ValueError: /data/x has no 'y'", "ValueError: x has no 'y'"),
        ("facebook/hubert-base-ls960", "facebook/hubert-base-ls960"),
        ("https://example.org/a/b", "https://example.org/a/b"),
        ("data/ml_superb", "data/ml_superb"),
        ("1/2 of them, and/or / none", "1/2 of them, and/or / none"),
        (3.5, 3.5),
        (None, None),
        ({"/a/b": ["/c/d", {"e": "/f/g"}]}, {"b": ["d", {"e": "g"}]}),
    ],
)
def test_of_an_absolute_path_the_last_part_is_left(value: object, kept: object) -> None:
    assert without_places(value) == kept


DATA = {
    "root": "/data/speech",
    "corpora": {"other": {"root": "/data/speech/inner", "name": "x"}},
    "train": "/tables/train.csv",
    "audio_root": "clips/all",
}


@pytest.mark.parametrize(
    ("audio", "kept"),
    [
        ("/data/speech/mls/deu/wav/a.wav", "mls/deu/wav/a.wav"),
        ("/data/speech/inner/b.wav", "b.wav"),
        ("/tables/wav/c.wav", "wav/c.wav"),
        ("/home/me/clips/all/d.mp3", "d.mp3"),
        ("/elsewhere/e.wav", "e.wav"),
        ("/elsewhere/data/speech/f.wav", "f.wav"),
        ("/data/speech/shards/audio.000000.tar#512+4096", "shards/audio.000000.tar#512+4096"),
        ("already/g.wav", "already/g.wav"),
    ],
)
def test_audio_is_named_within_its_corpus(audio: str, kept: str) -> None:
    assert audio_without_place(audio, roots_of(DATA)) == kept


def test_every_piece_of_joined_audio_is_named_within_its_corpus() -> None:
    audio = joined([("/data/speech/a.wav", 0.0, 1.5), ("/tables/b.wav", 2.0, 1.0)])
    assert pieces_of(audio_without_place(audio, roots_of(DATA))) == [("a.wav", 0.0, 1.5), ("b.wav", 2.0, 1.0)]
