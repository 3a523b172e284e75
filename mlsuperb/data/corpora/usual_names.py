"""What people call the columns of their tables and the splits of their data."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import PurePath

# LibriSpeech, Common Voice, NeMo, Whisper, FLEURS and VoxPopuli on the hub, `datasets` (audiofolder), torchaudio
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "audio": (
        "audio_filepath", "audio_path", "audio_file", "path", "file", "file_path", "file_name", "filename", "wav", "wav_path",
    ),
    "text": ("sentence", "transcription", "transcript", "normalized_text"),
    "language": ("lang", "locale", "language_code", "lang_code", "language_id"),
    "speaker": ("speaker_id", "client_id", "spk", "spk_id"),
    "split": ("subset", "partition"),
    "id": ("utt_id", "utterance_id", "uttid"),
    "start_s": ("offset",),
    "duration_s": ("duration",),
}  # fmt: skip
NEEDED = ("audio", "text", "language")
# `datasets` knows these words in names of files and folders
_SPLITS = {
    "train": "train", "training": "train", "dev": "dev", "validation": "dev", "valid": "dev", "val": "dev",
    "development": "dev", "test": "test", "testing": "test", "eval": "test", "evaluation": "test",
}  # fmt: skip
_WORD = re.compile(rf"(?<![A-Za-z])({'|'.join(sorted(_SPLITS, key=len, reverse=True))})(?![A-Za-z])", re.IGNORECASE)


def split_named(name: str) -> str | None:
    """`train`, `dev` or `test` for a name of one of them (`validation`); None for another name."""
    return _SPLITS.get(name.strip().lower())


def split_in(path: str | PurePath) -> str | None:
    """The split that the name of a file tells, or else the innermost folder that tells one (`valid/metadata.csv`)."""
    for part in reversed(PurePath(path).parts):
        if found := _WORD.findall(part):
            return _SPLITS[found[-1].lower()]
    return None


def usual_columns(
    names: Sequence[str], *, place: str, given: Mapping[str, str | None], but: Collection[str] = (), group: str = "data"
) -> dict[str, str]:
    """Our column -> its usual name, for those of our columns that `names` has under no other name.

    Args:
        names: of the columns that there are.
        place: where they are, for the message.
        given: our columns whose name or value the user gave.
        but: our columns that are not looked for.

    Raises:
        ValueError: two usual names of a column that is needed are there.
    """
    found: dict[str, str] = {}
    lower = {name.lower(): name for name in names}
    for ours, usual in COLUMNS.items():
        if ours in names or given.get(ours) is not None or ours in but:
            continue
        there = [lower[name] for name in usual if name in lower]
        if len(there) > 1 and ours in NEEDED:
            raise ValueError(
                f"{place} has the columns {' and '.join(there)}, each of which may be {ours}. Say which one it is: "
                f"'{group}.columns={{{ours}: {there[0]}}}'."
            )
        if there:
            found[ours] = there[0]
    if "start_s" not in names and "start_s" not in found:
        found.pop("duration_s", None)  # of the whole file, which knows it better
    return found
