"""The same few utterances in each form that users' own data come in, written as the tools of that form write them."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from corpus_trees import write_wave

# (name, text, label of the language, speaker) of each split
Rows = Mapping[str, Sequence[tuple[str, str, str, str]]]
ROWS: Rows = {
    "train": [("a1", "guten Tag", "de", "s1"), ("a2", "habari", "sw", "s2"), ("a3", 'er sagte "ja"', "de", "s3")],
    "validation": [("b1", "auf Wiedersehen", "de", "s4"), ("b2", "kwaheri", "sw", "s5")],
    "test": [("c1", "bitte", "de", "s6"), ("c2", "asante", "sw", "s7")],
}
FEATURES = {
    "audio": {"sampling_rate": 16000, "_type": "Audio"},
    "sentence": {"dtype": "string", "_type": "Value"},
    "locale": {"names": ["de", "sw"], "_type": "ClassLabel"},
    "client_id": {"dtype": "string", "_type": "Value"},
}
DURATION_S = 0.5


def wave(folder: Path, name: str) -> Path:
    """Half a second of noise."""
    return write_wave(folder / name, duration_s=DURATION_S)


def hub_table(folder: Path, rows: Sequence[tuple[str, str, str, str]], *, with_label: bool = True) -> pa.Table:
    """Rows as `datasets` writes them: audio inside, classes as numbers, a description in the metadata."""
    columns: dict[str, Any] = {
        "audio": pa.array(
            [{"bytes": wave(folder, f"{name}.wav").read_bytes(), "path": f"{name}.wav"} for name, *_ in rows],
            pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
        ),
        "sentence": [text for _, text, *_ in rows],
        "locale": pa.array([FEATURES["locale"]["names"].index(label) for _, _, label, _ in rows], pa.int64()),  # type: ignore[attr-defined]
        "client_id": [speaker for *_, speaker in rows],
    }
    if not with_label:
        del columns["locale"]
    features = {name: FEATURES[name] for name in columns}
    return pa.table(columns).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def write_hub(folder: Path, rows: Rows = ROWS) -> Path:
    """data/train-00000-of-00001.parquet and so on, as `push_to_hub` leaves them; train in two files."""
    (folder / "data").mkdir(parents=True)
    for split, listed in rows.items():
        parts = [listed[:2], listed[2:]] if split == "train" else [listed]
        for number, part in enumerate(parts):
            path = folder / "data" / f"{split}-{number:05d}-of-{len(parts):05d}.parquet"
            pq.write_table(hub_table(folder.parent / "made", part), path, row_group_size=1)
    return folder


def write_saved(folder: Path, rows: Rows = ROWS) -> Path:
    """What `DatasetDict.save_to_disk` leaves."""
    for split, listed in rows.items():
        table = hub_table(folder.parent / "made", listed)
        (folder / split).mkdir(parents=True)
        path = str(folder / split / "data-00000-of-00001.arrow")
        with pa.OSFile(path, "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=2)
        (folder / split / "state.json").write_text("{}")
        (folder / split / "cache-0011.arrow").write_bytes(b"of a map")
    (folder / "dataset_dict.json").write_text(json.dumps({"splits": list(rows)}))
    return folder


def write_audiofolder(folder: Path, rows: Rows = ROWS, *, suffix: str = ".csv") -> Path:
    """A folder per split, with audio and metadata."""
    for split, listed in rows.items():
        records = [
            {"file_name": f"clips/{name}.flac", "transcription": text, "language": label, "speaker_id": speaker}
            for name, text, label, speaker in listed
        ]
        for name, *_ in listed:
            wave(folder / split / "clips", f"{name}.flac")
        write_table(folder / split / f"metadata{suffix}", records)
    return folder


def write_table(path: Path, records: Sequence[Mapping[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix in (".json", ".jsonl"):
        path.write_text("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in records), encoding="utf-8")
    elif path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(list(records)), path)
    else:
        with open(path, "w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(records[0]), delimiter="," if path.suffix == ".csv" else "\t")
            writer.writeheader()
            writer.writerows(records)
    return path


def records_of(folder: Path, rows: Rows = ROWS, **names: str) -> dict[str, list[dict[str, str]]]:
    """Rows of tables by split, with audio in `folder`/clips; `names` are the columns' (audio, text, language, speaker)."""
    found: dict[str, list[dict[str, str]]] = {}
    for split, listed in rows.items():
        for row in listed:
            wave(folder / "clips", f"{row[0]}.wav")
            cells = {"audio": f"clips/{row[0]}.wav", "text": row[1], "language": row[2], "speaker": row[3]}
            found.setdefault(split, []).append({names.get(key, key): cell for key, cell in cells.items()})
    return found


def write_tables(folder: Path, rows: Rows = ROWS) -> Path:
    """train.csv, validation.csv, test.csv with usual names of the columns."""
    for split, records in records_of(folder, rows, audio="path", text="sentence", language="lang").items():
        write_table(folder / f"{split}.csv", records)
    return folder


def write_one_table(folder: Path, rows: Rows = ROWS) -> Path:
    """all.csv with a column of splits."""
    records = records_of(folder, rows, audio="path", text="sentence", language="lang")
    return write_table(
        folder / "all.csv", [{**record, "split": split} for split, listed in records.items() for record in listed]
    )


def write_nemo(folder: Path, rows: Rows = ROWS) -> Path:
    """train_manifest.json and so on, JSON lines."""
    names = {"audio": "audio_filepath", "language": "lang"}
    for split, records in records_of(folder, rows, **names).items():
        given = [{**record, "offset": 0.0, "duration": DURATION_S} for record in records]
        write_table(folder / f"{split}_manifest.json", given)
    return folder


def cut_of(audio: Path, row: tuple[str, str, str, str], **changes: Any) -> dict[str, Any]:
    """A MonoCut of lhotse over the whole of a file."""
    name, text, label, speaker = row
    recording = {
        "id": name, "sources": [{"type": "file", "channels": [0], "source": str(audio)}], "sampling_rate": 16000,
        "num_samples": round(16000 * DURATION_S), "duration": DURATION_S, "channel_ids": [0],
    }  # fmt: skip
    said = {
        "id": name, "recording_id": name, "start": 0.0, "duration": DURATION_S, "channel": 0, "text": text, "language": label,
        "speaker": speaker,
    }  # fmt: skip
    cut = {
        "id": name,
        "start": 0.0,
        "duration": DURATION_S,
        "channel": 0,
        "supervisions": [said],
        "recording": recording,
    }
    return {**cut, "features": {"type": "kaldifeat-fbank", "storage_path": "none"}, "type": "MonoCut", **changes}


def write_lines(path: Path, objects: Sequence[Mapping[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in objects)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def write_cuts(folder: Path, rows: Rows = ROWS) -> Path:
    """mine_cuts_train.jsonl.gz and so on."""
    for split, listed in rows.items():
        cuts = [cut_of(wave(folder / "wav", f"{row[0]}.wav"), row) for row in listed]
        write_lines(folder / f"mine_cuts_{split}.jsonl.gz", cuts)
    return folder


def write_supervisions(folder: Path, rows: Rows = ROWS) -> Path:
    """Recordings and supervisions in files of their own."""
    for split, listed in rows.items():
        cuts = [cut_of(wave(folder / "wav", f"{row[0]}.wav"), row) for row in listed]
        write_lines(folder / f"recordings_{split}.jsonl", [cut["recording"] for cut in cuts])
        write_lines(folder / f"supervisions_{split}.jsonl", [said for cut in cuts for said in cut["supervisions"]])
    return folder


def write_common_voice(folder: Path, rows: Rows = ROWS) -> Path:
    """A folder per locale, with its tables and clips."""
    tables: dict[Path, list[dict[str, str]]] = {}
    for split, listed in rows.items():
        for name, text, label, speaker in listed:
            wave(folder / label / "clips", f"{name}.mp3")
            row = {"client_id": speaker, "path": f"{name}.mp3", "sentence": text, "locale": label}
            for table in ("dev" if split == "validation" else split, "validated"):
                tables.setdefault(folder / label / f"{table}.tsv", []).append(row)
    for path, records in tables.items():
        lines = ["\t".join(records[0]), *("\t".join(record.values()) for record in records)]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def write_kaldi(folder: Path, rows: Rows = ROWS) -> Path:
    """Kaldi folders, absolute paths."""
    for split, listed in rows.items():
        place = folder / ("dev" if split == "validation" else split)
        place.mkdir(parents=True)
        files = {
            "wav.scp": [f"{name} {wave(folder / 'wav', f'{name}.wav')}" for name, *_ in listed],
            "text": [f"{name} {text}" for name, text, *_ in listed],
            "utt2lang": [f"{name} {label}" for name, _, label, _ in listed],
            "utt2spk": [f"{name} {speaker}" for *_, speaker in listed for name in [_[0]]],
        }
        for name, lines in files.items():
            (place / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


# form -> (writer, option of `data`, settings with {} for what the writer returns)
FORMS: dict[str, tuple[Callable[[Path], Path], str, dict[str, str]]] = {
    "hub": (write_hub, "hf", {"path": "{}"}),
    "saved": (write_saved, "hf", {"path": "{}"}),
    "audiofolder": (write_audiofolder, "hf", {"path": "{}"}),
    "tables": (write_tables, "table", {"path": "{}"}),
    "one_table": (write_one_table, "table", {"path": "{}"}),
    "nemo": (write_nemo, "table", {"path": "{}"}),
    "cuts": (write_cuts, "lhotse", {"root": "{}"}),
    "supervisions": (write_supervisions, "lhotse", {"root": "{}"}),
    "common_voice": (write_common_voice, "common_voice", {"root": "{}"}),
    "kaldi": (write_kaldi, "kaldi", {"root": "{}"}),
}


def settings_of(form: str, folder: Path) -> list[str]:
    """Write a form and return the command line that reads it."""
    write, reader, settings = FORMS[form]
    place = str(write(folder))
    return [f"data={reader}", *(f"data.{name}={value.format(place)}" for name, value in settings.items())]
