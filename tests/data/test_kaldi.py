from __future__ import annotations

import pytest
from corpus_trees import write_wave

from mlsuperb.data.corpora.kaldi import Kaldi
from mlsuperb.data.manifest import records
from mlsuperb.data.prepared import prepare
from mlsuperb.types import Utterance


@pytest.fixture
def root(tmp_path):
    """Training data with segments, a test set without; no dev set."""
    write_wave(tmp_path / "wav" / "long take.wav", duration_s=5.0)
    write_wave(tmp_path / "wav" / "b.flac", duration_s=1.5)
    files = {
        "train/wav.scp": "rec1 wav/long take.wav\n",
        "train/segments": "u1 rec1 0.50 2.00\nu2 rec1 2.00 -1\nu3 rec1 1 2\n",
        "train/text": "u1 one  two\nu2 三 四\nu4 nowhere\n",
        "train/utt2lang": "u1 eng\nu2 nan\n",
        "train/utt2spk": "u1 s1\n",
        "eval/wav.scp": f"t1 {tmp_path / 'wav' / 'b.flac'}\nt2 wav/b.flac\n",
        "eval/text": "t1 last\nt2\n",
        "eval/utt2lang": "t1 eng\nt2 eng\n",
    }
    for name, content in files.items():
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return tmp_path / "data"


def corpus_of(root, **settings):
    given = {"root": str(root), "dev": None, "test": "eval", "audio_root": str(root.parent)}
    return Kaldi(**{**given, **settings})


def test_read(root):
    prepared = prepare(corpus_of(root, dataset="mine"), folder=None)
    wav = root.parent / "wav"
    columns = ["id", "audio", "start_s", "duration_s", "text", "language", "dataset", "split", "speaker"]
    assert prepared.manifest[columns].to_numpy().tolist() == [
        ["u1", str(wav / "long take.wav"), 0.5, 1.5, "one  two", "eng", "mine", "train", "s1"],
        ["u2", str(wav / "long take.wav"), 2.0, 3.0, "三 四", "nan", "mine", "train", ""],
        ["t1", str(wav / "b.flac"), 0.0, 1.5, "last", "eng", "mine", "test", ""],
    ]
    assert {reason: entry["examples"] for reason, entry in prepared.skipped.items()} == {
        "no line in wav.scp or segments": ["u4"],
        "no line in text": ["u3"],
        "empty text": ["t2"],
    }


def test_one_language_needs_no_utt2lang(root):
    for name in ("train", "eval"):
        (root / name / "utt2lang").unlink()
    rows = records(prepare(corpus_of(root, language="nan"), folder=None).manifest, Utterance)
    assert [row.language for row in rows] == ["nan"] * 3
    with pytest.raises(ValueError, match=r"utt2lang is missing.*data\.language"):
        prepare(corpus_of(root), folder=None)
    with pytest.raises(ValueError, match=r"data\.language: 'no'.*'nor'"):
        prepare(corpus_of(root, language="no"), folder=None)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("wav.scp", "rec1 sph2pipe -f wav x.sph |\n", r"wav\.scp: rec1 is 'sph2pipe.*format_wav_scp"),
        ("wav.scp", "rec1 raw.ark:17\n", r"rec1 is 'raw\.ark:17'"),
        ("wav.scp", "rec1 raw.ark:17[0:100]\n", r"rec1 is 'raw\.ark:17\[0:100\]'.*wav-copy"),
        ("wav.scp", "rec1 raw.ark\n", r"rec1 is 'raw\.ark'"),
        ("segments", "u1 rec1 0.5 2\nu2 rec1 2 3\nu1 rec1 3 4\n", r"segments: u1 has more than one line\. Take"),
        ("segments", "u1 rec1 0.5 2\nu2 rec1 nan 3\n", r"segments, line 2: 'u2 rec1 nan 3' is not"),
        ("segments", "u1 rec1 0.5 inf\n", r"segments, line 1: 'u1 rec1 0\.5 inf' is not"),
        ("text", "u1 a\0b\n", r"text, line 1: this is not UTF-8"),
        ("wav.scp", "rec2 wav/b.flac\n", r"segments, line 1: recording rec1 has no line"),
        ("segments", "u1 rec1 0.5 2\nu2 rec1 x 3\n", r"segments, line 2: 'u2 rec1 x 3' is not"),
        ("text", "u1 a\nu1 b\n", r"text: u1 has more than one line"),
        ("utt2lang", "u1 eng\n", r"utt2lang has no line for u2.*data\.language"),
    ],
)
def test_broken_files(root, name, content, message):
    (root / "train" / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        prepare(corpus_of(root), folder=None)


def test_missing_folders(root):
    with pytest.raises(ValueError, match=r"data\.test=test: .*test has no wav\.scp.*or null"):
        prepare(corpus_of(root, test="test"), folder=None)
    with pytest.raises(ValueError, match=r"data\.root=.*nowhere: there is no such folder"):
        prepare(corpus_of(root.parent / "nowhere"), folder=None)


def test_text_may_be_missing_where_it_is_optional(root):
    (root / "train" / "text").unlink()
    (root / "train" / "utt2lang").write_text("u1 eng\nu2 nan\nu3 eng\n")
    with pytest.raises(ValueError, match=r"text is missing\. Add it\."):
        prepare(corpus_of(root), folder=None)
    prepared = prepare(corpus_of(root, text="optional"), folder=None)
    rows = {row.id: row.text for row in records(prepared.manifest, Utterance)}
    assert rows == {"u1": "", "u2": "", "u3": "", "t1": "last", "t2": ""}
