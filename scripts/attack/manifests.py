"""Damage the files that corpora are described in, and look what becomes of it: every input has to end in a manifest whose rows
and skipped rows add up to those of the input, or in one sentence for the user.

python scripts/attack/manifests.py --seed 0 --count 2000
python scripts/attack/manifests.py --seed 0 --case 17      # one input again: its files and what was said

An input is one of `FORMATS`, sound at first, with one to three mutations of its bytes, lines or cells. Each row has a word of its
own (`w3w`), so that a row that is in the file, but neither in the manifest nor counted, is found whatever the format makes of the
damage. The figures are printed as JSON; the exit status is 1 where there was a traceback or a silent loss.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import json
import re
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mlsuperb.data.corpora.base import Reader
from mlsuperb.data.corpora.kaldi import Kaldi
from mlsuperb.data.corpora.ml_superb import MLSuperb
from mlsuperb.data.corpora.parallel import PairTable
from mlsuperb.data.corpora.table import Table
from mlsuperb.data.prepared import prepare
from mlsuperb.runs.hypotheses import read_hypotheses
from scripts.attack.mutations import mutated_bytes, mutated_cells, mutated_lines, mutated_rows, mutated_values

NUM_ROWS = 6
WORD = re.compile(r"w\d+w")
TEXTS = ["{}", "{} and, more", '{} he said "hi"', '"Yes," he said {}', "é 日本 {}", "{} it's  so"]


@dataclass(frozen=True)
class Damaged:
    """The files of an input by name, and what was done to them."""

    files: dict[str, bytes]
    mutations: tuple[str, ...]


# ---- sound inputs


def texts() -> list[str]:
    return [text.format(f"w{number}w") for number, text in enumerate(TEXTS[:NUM_ROWS])]


def rows() -> list[dict[str, str]]:
    return [{"sentence": text, "path": f"{number}.wav", "lang": "eng"} for number, text in enumerate(texts())]


def delimited(separator: str, *, quoted: bool) -> bytes:
    out = io.StringIO()
    listed = [list(rows()[0]), *(list(row.values()) for row in rows())]
    if quoted:
        csv.writer(out, delimiter=separator, lineterminator="\n").writerows(listed)
    else:
        out.writelines(f"{separator.join(cells)}\n" for cells in listed)
    return out.getvalue().encode()


def json_lines(listed: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in listed).encode()


def parquet(listed: list[dict[str, Any]]) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(listed), out)
    return out.getvalue()


def kaldi() -> dict[str, bytes]:
    lines = {
        "wav.scp": [f"r{number} {number}.wav" for number in range(NUM_ROWS)],
        "segments": [f"u{number} r{number} 0.0 {0.5 + number / 20}" for number in range(NUM_ROWS)],
        "text": [f"u{number} {text}" for number, text in enumerate(texts())],
        "utt2lang": [f"u{number} eng" for number in range(NUM_ROWS)],
        "utt2spk": [f"u{number} s" for number in range(NUM_ROWS)],
    }
    return {f"train/{name}": "".join(f"{line}\n" for line in one).encode() for name, one in lines.items()}


def ml_superb() -> dict[str, bytes]:
    parts = {"1h_train": texts()[:4], "10min_dev": texts()[4:5], "10min_test": texts()[5:]}
    number, files = 0, {"d/eng/utt2spk": b"0 s\n1 s\n"}
    for name, part in parts.items():
        files[f"d/eng/transcript_{name}.txt"] = "".join(
            f"{number + n} x {one}\n" for n, one in enumerate(part)
        ).encode()
        number += len(part)
    return files


def hypotheses() -> bytes:
    common = {"dataset": "d", "language": "eng", "split": "test", "audio": "a.wav", "start_s": 0.0, "duration_s": 1.0}
    return json_lines(
        [
            {"id": f"u{n}", **common, "reference": one, "hypothesis": one, "predicted_language": None}
            for n, one in enumerate(texts())
        ]
    )


def pairs() -> list[dict[str, str]]:
    return [{"source": f"{one} s", "target": f"{one} t", "quality": "1.0"} for one in texts()]


# ---- what reads them, and how many rows an input has by a look of our own


def table_of(path: Path) -> Reader:
    columns = {"audio": "path", "text": "sentence", "language": "lang"}
    return Table(train=str(path), dev=None, test=None, columns=columns, audio_root=str(path.parents[1] / "wav"))


def pairs_of(path: Path) -> Reader:
    languages = {"source_language": "deu", "target_language": "eng"}
    return PairTable(train=str(path), dev=None, test=None, max_length_ratio=1000.0, **languages)


def lines_of(content: bytes) -> list[str]:
    return io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig").read().split("\n")


def num_lines(files: Mapping[str, bytes]) -> int:
    (content,) = files.values()
    return sum(bool(line.strip()) for line in lines_of(content))


def num_utterances(files: Mapping[str, bytes]) -> int:
    """Of Kaldi: those of `segments`, each line one, and those that only `text` names."""
    placed, spoken = (
        [line.split()[0] for line in lines_of(files[f"train/{name}"]) if line.split()] for name in ("segments", "text")
    )
    return len(placed) + len(set(spoken) - set(placed))


def num_transcripts(files: Mapping[str, bytes]) -> int:
    listed = [lines_of(content) for name, content in files.items() if "transcript" in name]
    return sum(len(lines) - (not lines[-1]) for lines in listed)


def num_parquet(files: Mapping[str, bytes]) -> int:
    (content,) = files.values()
    return int(pq.read_metadata(io.BytesIO(content)).num_rows)


@dataclass(frozen=True)
class Format:
    """A kind of input: its sound files, the reader of its folder (None: of hypotheses), its separator, and its rows."""

    make: Callable[[], dict[str, bytes]]
    reader: Callable[[Path], Reader] | None
    separator: str | None
    num_rows: Callable[[Mapping[str, bytes]], int] | None = None  # None: by the words of the rows alone


FORMATS: dict[str, Format] = {
    "csv": Format(lambda: {"t.csv": delimited(",", quoted=True)}, lambda at: table_of(at / "t.csv"), ","),
    "tsv": Format(lambda: {"t.tsv": delimited("\t", quoted=False)}, lambda at: table_of(at / "t.tsv"), "\t"),
    "tsv of pandas": Format(lambda: {"t.tsv": delimited("\t", quoted=True)}, lambda at: table_of(at / "t.tsv"), "\t"),
    "jsonl": Format(lambda: {"t.jsonl": json_lines(rows())}, lambda at: table_of(at / "t.jsonl"), None, num_lines),
    "parquet": Format(lambda: {"t.parquet": parquet(rows())}, lambda at: table_of(at / "t.parquet"), None, num_parquet),
    "kaldi": Format(
        kaldi,
        lambda at: Kaldi(root=str(at), dev=None, test=None, audio_root=str(at.parent / "wav")),
        " ",
        num_utterances,
    ),
    "ml_superb": Format(ml_superb, lambda at: MLSuperb(root=str(at), size="1h", few_shot="all"), " ", num_transcripts),
    "pairs jsonl": Format(
        lambda: {"t.jsonl": json_lines(pairs())}, lambda at: pairs_of(at / "t.jsonl"), None, num_lines
    ),
    "hypotheses": Format(lambda: {"h.jsonl": hypotheses()}, None, None, num_lines),
}


# ---- damage


def damage(name: str, rng: Random) -> Damaged:
    one, done = FORMATS[name], []
    files = one.make()
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        file = rng.choice(list(files))
        content, kind = files[file], rng.choice(["bytes", "lines", "rows", "cells", "cells"])
        if kind == "cells" and one.separator is None:
            said = f"{file}: {_with_values(files, file, rng)}"
        elif kind == "bytes" or file.endswith(".parquet"):
            said, files[file] = mutated_bytes(content, rng)
        elif kind == "lines":
            said, files[file] = mutated_lines(content, rng)
        elif kind == "rows":
            said, files[file] = mutated_rows(content, rng, one.separator or ",")
        else:
            said, files[file] = mutated_cells(content, rng, one.separator or ",")
        done.append(f"{file}: {said}")
    return Damaged(files, tuple(done))


def _with_values(files: dict[str, bytes], file: str, rng: Random) -> str:
    """Change a value of JSON lines or Parquet, where that is still possible after other damage."""
    try:
        if file.endswith(".parquet"):
            listed = pq.read_table(io.BytesIO(files[file])).to_pylist()
        else:
            listed = [json.loads(line) for line in files[file].splitlines() if line.strip()]
        said = mutated_values(listed, rng)
        plain = [
            {key: value.decode() if isinstance(value, bytes) else value for key, value in row.items()} for row in listed
        ]
        files[file] = (
            parquet(listed) if file.endswith(".parquet") else "".join(json.dumps(row) + "\n" for row in plain).encode()
        )
    except Exception:  # noqa: BLE001  # of damage: the file stays as it is
        return "as it was"
    return said


# ---- the attack


def outcome_of(name: str, damaged: Damaged, root: Path) -> tuple[str, str]:
    """(whole, counted, refused, traceback or silent loss; what was said) of one input."""
    folder = root / "corpus"
    for file, content in damaged.files.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(content)
    try:
        kept, num_skipped, said = _read(name, folder)
    except Exception as error:  # noqa: BLE001
        if type(error) in (ValueError, OSError, FileNotFoundError):  # others are a library's own, and name no file
            return "refused", str(error)
        return "traceback", "".join(traceback.format_exception(error)[-4:])
    if lost := _lost(FORMATS[name], damaged, kept, num_skipped):
        return "silent loss", f"{lost}; {said}"
    return ("counted" if num_skipped else "whole"), said


def _read(name: str, folder: Path) -> tuple[list[str], int, str]:
    """(texts that were kept, number of rows that were skipped, what was skipped)."""
    make = FORMATS[name].reader
    if make is None:
        return [one.reference for one in read_hypotheses(folder / "h.jsonl")], 0, ""
    stored = folder.parent / "manifest"
    first = prepare(make(folder), folder=stored)
    again = prepare(make(folder), folder=stored)
    assert again.skipped == first.skipped, "what was stored is another report"
    assert again.manifest["id"].tolist() == first.manifest["id"].tolist(), "what was stored is another manifest"
    column = "text" if "text" in first.manifest else "source"
    skipped = {
        why: one["count"] for why, one in first.skipped.items() if "few-shot" not in why and "no part of" not in why
    }
    return first.manifest[column].tolist(), sum(skipped.values()), str(skipped)


def _lost(one: Format, damaged: Damaged, kept: list[str], num_skipped: int) -> str:
    """Why rows were lost in silence; empty where they were not."""
    if one.num_rows is not None:
        with contextlib.suppress(pa.ArrowException, OSError):  # a Parquet file that nobody else can read
            expected = one.num_rows(damaged.files)
            return f"{expected} rows, {len(kept)} kept, {num_skipped} skipped" * (expected != len(kept) + num_skipped)
        return ""
    (content,) = damaged.files.values()
    there = Counter(WORD.findall(content.decode("utf-8-sig").partition("\n")[2]))
    missing = there - Counter(word for text in kept for word in WORD.findall(text))
    if missing.total() > num_skipped:
        return f"{', '.join(missing)} are in the file, {len(kept)} rows kept, {num_skipped} skipped"
    merged = [text for text in kept if "\n" in text and len(set(WORD.findall(text))) > 1]
    return f"rows became one: {merged[0]!r}" if merged else ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="another one damages in other ways (default: 0)")
    parser.add_argument("--count", type=int, default=1000, help="number of inputs (default: 1000)")
    parser.add_argument("--case", type=int, help="this input alone, with its files and what was said")
    options = parser.parse_args()
    found: dict[str, Counter[str]] = {name: Counter() for name in FORMATS}
    bad = []
    for case in range(options.count) if options.case is None else [options.case]:
        rng = Random(f"{options.seed} {case}")
        name = list(FORMATS)[case % len(FORMATS)]
        damaged = damage(name, rng)
        with tempfile.TemporaryDirectory() as place:
            root = Path(place)
            write_waves(root, name)
            outcome, said = outcome_of(name, damaged, root)
        found[name][outcome] += 1
        about = {"case": case, "format": name, "mutations": damaged.mutations, "outcome": outcome, "said": said[-2000:]}
        if outcome in ("traceback", "silent loss"):
            bad.append(about)
        if options.case is not None:
            print(
                json.dumps(about, indent=2),
                *(f"{file}: {content!r}" for file, content in damaged.files.items()),
                sep="\n",
            )
    total = sum(found.values(), Counter())
    figures = {
        "seed": options.seed,
        "inputs": total.total(),
        **{name: total[name] for name in ("whole", "counted", "refused")},
    }
    figures |= {"tracebacks": total["traceback"], "silent_losses": total["silent loss"]}
    print(json.dumps({**figures, "by_format": found, "bad": bad[:20]}, indent=2))
    return int(bool(bad))


def write_waves(root: Path, name: str) -> None:
    """A second of silence for each row."""
    folder = root / "corpus" / "d" / "eng" / "wav" if name == "ml_superb" else root / "wav"
    folder.mkdir(parents=True)
    header = b"RIFF\x24\x7d\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x80\x3e\0\0\0\x7d\0\0\2\0\x10\0data\0\x7d\0\0"
    for number in range(NUM_ROWS):
        (folder / f"{number}.wav").write_bytes(header + bytes(32_000))


if __name__ == "__main__":
    sys.exit(main())
