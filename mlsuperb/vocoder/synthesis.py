"""Speech from units: a wav file for each utterance. Letters: B batch, F frames, S units without repetitions, T samples."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import soundfile
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from tqdm.auto import tqdm

from mlsuperb.data.batching import InferenceBatches
from mlsuperb.runtime.files import disk_errors_named, replaced, written_before
from mlsuperb.types import SAMPLE_RATE_HZ
from mlsuperb.units.extraction import UnitsAbout, UnitUtterance, read_units
from mlsuperb.vocoder.folder import Voice, load_vocoder, weights_sha256
from mlsuperb.vocoder.generator import UnitVocoder

Durations = Literal["own", "predicted"]
ABOUT_FILE = "synthesis.json"  # beside the files: what made them


@dataclass(frozen=True, kw_only=True)
class ToSpeak:
    """An utterance as the vocoder sees it: a unit for each frame, the numbers of its speaker and language."""

    id: str
    units_F: Tensor
    speaker: int
    language: int


@dataclass(frozen=True, kw_only=True)
class Synthesised:
    """What a synthesis came to.

    Args:
        num_written, num_skipped: files; skipped ones were there before.
        audio_s: seconds of speech that were made.
        wall_s: seconds that it took, files and predicted durations included, loading the vocoder not.
    """

    num_written: int
    num_skipped: int
    audio_s: float
    wall_s: float

    def sentence(self) -> str:
        """For people."""
        skipped = f", {self.num_skipped:,} were there already" if self.num_skipped else ""
        if not self.audio_s:
            return f"no file to write{skipped}"
        return (
            f"{self.num_written:,} files with {self.audio_s:.1f} s of speech in {self.wall_s:.1f} s: real-time factor "
            f"{self.wall_s / self.audio_s:.3f}, {self.audio_s / self.wall_s:.1f} times faster than real time{skipped}"
        )


def synthesise(
    folder: Path, *, vocoder: Path, out: Path, durations: Durations = "own", speaker: str | None = None,
    language: str | None = None, batch_s: float = 60.0, overwrite: bool = False, device: torch.device | None = None,
) -> Synthesised:  # fmt: skip
    """Write `<id>.wav` (16 bits, 16 kHz) in `out` for each utterance of a folder of units.

    Args:
        folder: what `mlsuperb units extract` wrote.
        vocoder: run of job=vocoder, or the folder `vocoder` in it.
        durations: frames of each unit, as in the folder or as the vocoder predicts them.
        speaker: voice of all utterances; None: each its own. `language`: likewise.
        batch_s: padded seconds of speech in a batch, at most.

    Raises:
        ValueError: the units are those of another codebook, the vocoder does not know a speaker or a language, or `out` holds
            speech of another vocoder or with other settings.
        OSError: the disk is full.
    """
    model, voice = load_vocoder(vocoder, device=device or "cpu")
    about, read = read_units(folder)
    utterances = list(read)
    check_units(about, voice, folder=folder, vocoder=vocoder)
    chosen: dict[str, Any] = {"durations": durations, "speaker": speaker, "language": language}
    paths = paths_of(utterances, out)
    waiting = [one for one in utterances if overwrite or not paths[one.id].is_file()]
    started = time.perf_counter()
    with torch.inference_mode():
        listed = [_to_speak(one, model, voice, **chosen) for one in waiting]
        if overwrite:  # files first: a process killed between the two leaves nothing that passes for this vocoder's
            for path in [*paths.values(), out / ABOUT_FILE]:
                path.unlink(missing_ok=True)
        _check_out(out, {"vocoder": weights_sha256(vocoder), **chosen})
        audio_s = _write_all(model, listed, paths, rate_hz=voice.rate_hz, batch_s=batch_s)
    wall_s = time.perf_counter() - started
    return Synthesised(
        num_written=len(listed), num_skipped=len(utterances) - len(listed), audio_s=audio_s, wall_s=wall_s
    )


def _check_out(out: Path, about: Mapping[str, Any]) -> None:
    """Files that are there already are kept, so they have to be of the same vocoder with the same settings."""
    if (before := written_before(out / ABOUT_FILE, about)) is not None:
        changed = [name for name in about if before.get(name) != about[name]]
        other = ", ".join(f"{name} {before.get(name)} there, {about[name]} here" for name in changed)
        raise ValueError(f"{out} holds speech made in another way ({other}). Give another --out, or --overwrite")


def _write_all(
    model: UnitVocoder, listed: Sequence[ToSpeak], paths: Mapping[str, Path], *, rate_hz: float, batch_s: float
) -> float:
    """Make and write the waves; returns seconds of speech."""
    num_samples = 0
    with tqdm(total=len(listed), desc="synthesise", unit="utt", dynamic_ncols=True) as bar:
        for one, wave_T in waves(model, listed, rate_hz=rate_hz, batch_s=batch_s):
            _write(paths[one.id], wave_T)
            num_samples += len(wave_T)
            bar.update()
    return num_samples / SAMPLE_RATE_HZ


def waves(
    model: UnitVocoder, utterances: Sequence[ToSpeak], *, rate_hz: float, batch_s: float
) -> Iterator[tuple[ToSpeak, np.ndarray]]:
    """The wave (T,) float32 of each utterance, longest first; what they are batched with does not change them."""
    device = next(model.parameters()).device
    lengths_s = np.array([len(one.units_F) for one in utterances], float) / rate_hz
    for rows in InferenceBatches(lengths_s, max_batch_s=batch_s):
        batch = [utterances[row] for row in rows]
        lengths_B = torch.tensor([len(one.units_F) for one in batch])
        padded = len(set(lengths_B.tolist())) > 1
        wave_BT = model(
            pad_sequence([one.units_F for one in batch], batch_first=True).to(device),
            speaker_B=torch.tensor([one.speaker for one in batch], device=device),
            language_B=torch.tensor([one.language for one in batch], device=device),
            lengths_B=lengths_B.to(device) if padded else None,
        )
        for one, wave_T in zip(batch, wave_BT.float().cpu().numpy(), strict=True):
            yield one, wave_T[: len(one.units_F) * model.shape.hop]


def check_units(about: UnitsAbout, voice: Voice, *, folder: Path, vocoder: Path) -> None:
    """Refuse units that the vocoder was not trained on.

    Raises:
        ValueError: they are of another codebook or of another rate.
    """
    if about.codebook != voice.codebook:
        raise ValueError(
            f"{folder} holds units of the codebook {about.codebook[:12]}... ({about.num_units} units), and {vocoder} speaks "
            f"those of {voice.codebook[:12]}... ({voice.num_units} units): the same number is another sound there. Extract units "
            "with the codebook that the vocoder was trained on, or train a vocoder on the labels of this codebook (job=vocoder)"
        )
    if (about.rate_hz, about.num_units) != (voice.rate_hz, voice.num_units):
        raise ValueError(
            f"{folder} has {about.num_units} units at {about.rate_hz:g} Hz, and {vocoder} speaks {voice.num_units} at "
            f"{voice.rate_hz:g} Hz, of the same codebook: one of them is damaged. Extract the units again"
        )


def paths_of(utterances: Sequence[UnitUtterance], out: Path) -> dict[str, Path]:
    """The file of each utterance by its id.

    Raises:
        ValueError: two have the same id, or an id leads out of the folder.
    """
    paths: dict[str, Path] = {}
    for one in utterances:
        path = out / f"{one.id}.wav"
        if one.id in paths or not path.resolve().is_relative_to(out.resolve()):
            raise ValueError(
                f"the utterance {one.id!r} cannot be written to {path}: ids must differ, and name files inside of --out. Extract "
                "the units of one dataset and split at a time"
            )
        paths[one.id] = path
    return paths


def _to_speak(
    one: UnitUtterance,
    model: UnitVocoder,
    voice: Voice,
    *,
    durations: Durations,
    speaker: str | None,
    language: str | None,
) -> ToSpeak:
    units_S = torch.tensor(one.units)
    if durations == "own":
        frames_S = torch.tensor(one.durations)
    else:
        frames_S = model.durations(units_S.to(next(model.parameters()).device)).cpu()
    return ToSpeak(
        id=one.id,
        units_F=units_S.repeat_interleave(frames_S),
        speaker=number_of(speaker or one.speaker, voice.speakers, kind="speaker", given=speaker, utterance=one.id),
        language=number_of(
            language or one.language, voice.languages, kind="language", given=language, utterance=one.id
        ),
    )


def number_of(name: str | None, known: Sequence[str], *, kind: str, given: str | None, utterance: str) -> int:
    """The number of a speaker or a language among those that a vocoder knows; 0 where it has no embedding of them.

    Args:
        kind: what it is; also the name of the option.
        given: what the option was given.

    Raises:
        ValueError: the vocoder does not know it, or knows none and one was asked for.
    """
    if not known:
        if given is not None:
            raise ValueError(
                f"--{kind} {given}: this vocoder was trained without {kind}s, so it has one voice. Leave --{kind} out"
            )
        return 0
    if name not in known:
        whose = f"--{kind} {given}" if given is not None else f"the {kind} of {utterance}, {name!r},"
        listed = ", ".join(known[:20]) + (f", ... ({len(known)} in all)" if len(known) > 20 else "")
        raise ValueError(
            f"{whose} is not among the {kind}s that the vocoder was trained on: choose --{kind} of {listed}"
        )
    return known.index(name)


def _write(path: Path, wave_T: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with disk_errors_named(path), replaced(path) as temporary:
        soundfile.write(temporary, wave_T, SAMPLE_RATE_HZ, format="WAV", subtype="PCM_16")
