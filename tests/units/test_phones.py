"""Phone intervals: the files they are read from, and frames beside them."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from mlsuperb.units.phones import SILENCE, Interval, aligned, merged, read_phones

LONG = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0 
xmax = 0.5 
tiers? <exists> 
size = 3 
item []: 
    item [1]:
        class = "IntervalTier" 
        name = "words" 
        xmin = 0 
        xmax = 0.5 
        intervals: size = 1 
        intervals [1]:
            xmin = 0 
            xmax = 0.5 
            text = "say ""4 2"" ! 3" 
    item [2]:
        class = "TextTier" 
        name = "bell" 
        xmin = 0 
        xmax = 0.5 
        points: size = 2 
        points [1]:
            number = 0.1 
            mark = "phones" 
        points [2]:
            number = 0.2 
            mark = "" 
    item [3]:
        class = "IntervalTier" 
        name = "phones" 
        xmin = 0 
        xmax = 0.5 
        intervals: size = 3 
        intervals [1]:
            xmin = 0 
            xmax = 0.12 
            text = "" 
        intervals [2]:
            xmin = 0.12 
            xmax = 3.0e-1 
            text = "ʃ" 
        intervals [3]:
            xmin = 0.3 
            xmax = 0.5 
            text = "AH0 " 
"""  # noqa: W291
SHORT = """File type = "ooTextFile"
Object class = "TextGrid"

0
0.5
<exists>
3
"IntervalTier"
"words"
0
0.5
1
0
0.5
"say ""4 2"" ! 3"
"TextTier"
"bell"
0
0.5
2
0.1
"phones"
0.2
""
"IntervalTier"
"phones"
0
0.5
3
0
0.12
""
0.12
3.0e-1
"ʃ"
0.3
0.5
"AH0 "
"""
GRID = [Interval(0.0, 0.12, SILENCE), Interval(0.12, 0.3, "ʃ"), Interval(0.3, 0.5, "AH0")]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
@pytest.mark.parametrize(
    "text", [LONG, SHORT, SHORT.replace("\n", "\r\n"), SHORT.replace("<exists>", "<exists> ! 7 tiers")]
)
def test_a_textgrid_in_each_form_and_encoding(text: str, encoding: str, tmp_path: Path) -> None:
    mark = b"\xfe\xff" if encoding == "utf-16-be" else b""
    (tmp_path / "speaker").mkdir()
    (tmp_path / "speaker" / "utt1.TextGrid").write_bytes(mark + text.encode(encoding))
    assert read_phones(tmp_path, stress=True) == {"utt1": GRID}
    assert read_phones(tmp_path / "speaker" / "utt1.TextGrid")["utt1"][-1].phone == "AH"
    assert read_phones(tmp_path, tier="words")["utt1"][0].phone == 'say "4 2" ! 3'


def test_a_missing_tier_is_answered_with_those_that_are_there(tmp_path: Path) -> None:
    (tmp_path / "utt1.TextGrid").write_text(LONG, encoding="utf-8")
    with pytest.raises(ValueError, match=r"no interval tier 'phone'; it has 'words', 'phones'.*--tier"):
        read_phones(tmp_path, tier="phone")


def test_two_tiers_of_one_name_are_refused(tmp_path: Path) -> None:
    """As of two speakers: the last of them would be taken."""
    (tmp_path / "utt1.TextGrid").write_text(LONG.replace('"words"', '"phones"'), encoding="utf-8")
    with pytest.raises(ValueError, match=r"has 2 interval tiers 'phones'; it has 'phones', 'phones'"):
        read_phones(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LONG[:-60], "cut off"), (SHORT.replace("0.12\n\"\"", "nothing\n\"\""), "cut off"),
        ("0.5 125 a\n", "no TextGrid"), (b"\xff\xfe\x00", "neither UTF-8 nor UTF-16"), (b"\xe4", "neither UTF-8 nor UTF-16"),
    ],
)  # fmt: skip
def test_a_broken_textgrid_is_refused(text: str | bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "u.TextGrid").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=message):
        read_phones(tmp_path)


@pytest.mark.parametrize("header", ["", "utterance\tstart\tend\tphone\n", "\ufeffid\tstart_s\tend_s\tphone\r\n"])
def test_a_table_with_and_without_header(header: str, tmp_path: Path) -> None:
    body = 'u1\t0.0\t0.1\t#\nu1\t0.1\t0.25\t"\n\nu2\t0\t0.3\tnan\n'
    (tmp_path / "phones.tsv").write_text(header + body, encoding="utf-8")
    wanted = {"u1": [Interval(0.0, 0.1, "#"), Interval(0.1, 0.25, '"')], "u2": [Interval(0.0, 0.3, "nan")]}
    assert read_phones(tmp_path / "phones.tsv") == wanted
    assert read_phones(tmp_path) == wanted


def test_label_files_of_festival_and_xwaves(tmp_path: Path) -> None:
    (tmp_path / "u1.lab").write_text("0.342 125 pau\n0.392 125 k\n0.392 125 ghost\n")
    (tmp_path / "u2.lab").write_text("signal u2\nnfields 1\n#\n    0.1000   26   a ; extra\n    0.2000   26   b\n")
    assert read_phones(tmp_path) == {
        "u1": [Interval(0.0, 0.342, "pau"), Interval(0.342, 0.392, "k")],
        "u2": [Interval(0.0, 0.1, "a"), Interval(0.1, 0.2, "b")],
    }


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"phones.tsv": "u\t0\t0.1\ta\nu 0.1 0.2 b\n"}, "line 2: 'u 0.1 0.2 b' is no phone"),
        ({"phones.tsv": "u\t0\t0.1\ta\nu\tx\t0.2\tb\n"}, "line 2"),
        ({"phones.tsv": "u\t0\t0.1\ta\nu\tb\nu\tc\n"}, "2 lines are no phone: .*line 2: 'u\tb'; .*line 3: 'u\tc'"),
        ({"phones.tsv": "u\t2\t1\ta\nv\t0\t1\ta\nw\t2\t1\ta\n"}, "phones of u, w overlap"),
        ({"u.lab": "0.1 a\n0.2\n", "v.lab": "x\n"}, "2 lines are no line of a label file: .*'0.1 a'.*'0.2'.*v.lab: 'x'"),
        ({"u.TextGrid": "x", "v.TextGrid": "x"}, "u.TextGrid.*v.TextGrid"),
        ({"phones.tsv": "u\t0\t0.2\ta\nu\t0.1\t0.3\tb\n"}, "phones of u overlap or run backwards"),
        ({"phones.tsv": "u\t0.2\t0.1\ta\n"}, "run backwards"),
        ({"phones.tsv": "u\t0\t0.1\ta\nv\t0\t0.1\ta\nu\t0.1\t0.2\ta\n"}, "the phones of u twice"),
        ({"phones.tsv": "id\tstart\tend\tphone\n"}, "holds no phones"),
        ({"phones.tsv": "u\tO.0\t0.1\ta\nu\t0.1\t0.2\tb\n"}, "line 1: .* is no phone"),  # no header
        ({"phones.tsv": "u\tnan\t0.1\ta\n"}, "line 1: .* is no phone"),
        ({"phones.tsv": "u\t0\t0.1\ta\tb\n"}, "line 1: .* is no phone"),
        ({"u.lab": "0.1 a\n"}, "no line of a label file"),
        ({"u.lab": "0.1 125 a\n", "phones.tsv": "u\t0\t0.1\ta\n"}, "only one of them"),
        ({}, "holds no phones. Give a table or a folder"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_answered(files: dict[str, str], message: str, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        read_phones(tmp_path)
    with pytest.raises(ValueError, match="no such file or folder"):
        read_phones(tmp_path / "absent")


def test_a_frame_has_the_phone_at_its_centre() -> None:
    intervals = [Interval(0.0, 0.03, "a"), Interval(0.03, 0.08, "b"), Interval(0.1, 0.15, "a")]
    index = {"a": 0, "b": 1}
    # centres at 10, 30, 50, 70, 90, 110, 130 ms; 30 ms belongs to b, 90 ms to nothing; the last centre before 150 ms is 130
    assert aligned(intervals, num_frames=20, rate_hz=50, index=index).tolist() == [0, 1, 1, 1, -1, 0, 0]
    assert aligned(intervals, num_frames=3, rate_hz=50, index=index).tolist() == [0, 1, 1]
    assert (
        aligned(intervals, num_frames=20, rate_hz=100, index=index).tolist() == [0] * 3 + [1] * 5 + [-1] * 2 + [0] * 5
    )
    assert aligned([], num_frames=3, rate_hz=50, index={}).tolist() == []


@pytest.mark.parametrize("rate_hz", [50.0, 100.0, 62.5, 31.25])
def test_frames_are_as_if_searched_one_by_one(rate_hz: float) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        times = np.unique(np.round(rng.random(20), 3))
        intervals = [Interval(float(a), float(b), rng.choice(["a", "b", "c"])) for a, b in pairwise(times)]
        intervals = [one for one in intervals if rng.random() < 0.9]
        wanted = []
        for number in range(int(1.2 * rate_hz)):
            centre_s = (number + 0.5) / rate_hz
            if centre_s >= intervals[-1].end_s:
                break
            wanted.append(
                next(("abc".index(one.phone) for one in intervals if one.start_s <= centre_s < one.end_s), -1)
            )
        got = aligned(intervals, num_frames=int(1.2 * rate_hz), rate_hz=rate_hz, index={"a": 0, "b": 1, "c": 2})
        assert got.tolist() == wanted


def test_neighbours_of_one_phone_are_merged() -> None:
    intervals = [Interval(0.0, 0.1, "a"), Interval(0.1, 0.2, "a"), Interval(0.2, 0.3, "b"), Interval(0.4, 0.5, "b")]
    assert merged(intervals) == [Interval(0.0, 0.2, "a"), Interval(0.2, 0.3, "b"), Interval(0.4, 0.5, "b")]
