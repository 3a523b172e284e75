"""espeak-ng by ctypes: text -> samples, text -> phonemes.

espeak-ng keeps its state in C globals (phase of the voice, position in the flutter table, last formants), and neither
selecting a voice nor `espeak_Initialize` resets all of it: the same call gives other samples after other calls. So the
library is loaded afresh for every utterance, which costs under 2 ms.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import count, takewhile
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np

SAMPLE_RATE_HZ = 22050
PACKAGES = ("espeakng_loader", "babel")  # what the built-in corpora need
INSTALL_HINT = 'pip install "mlsuperb[synthetic]"'

# Values of espeak-ng's public header speak_lib.h.
_SYNCHRONOUS, _DONT_EXIT, _UTF8, _END_PAUSE, _IPA = 2, 0x8000, 1, 0x1000, 2
_TIED = 0x80 | 0x361 << 8  # of espeak_TextToPhonemes: a tie bar (U+0361) within a phoneme
_RATE, _VOLUME, _PITCH, _PITCH_RANGE = 1, 2, 3, 4
_BUFFER_MS = 60  # espeak-ng's smallest; larger ones make clicks (espeak-ng issues #752, #1554)
_PHONEME_EVENTS, _PHONEMES_IN_IPA = 1, 2  # options of espeak_Initialize
_END_OF_LIST, _WORD, _PHONEME = 0, 1, 7  # types of events
_NAME_BYTES = 8  # of a phoneme in an event: a longer name is cut off


def missing_packages(option: str) -> list[str]:
    """A sentence if packages are not installed that `option` (`data=synthetic`) needs."""
    absent = [name for name in PACKAGES if find_spec(name) is None]
    return [f"{option} needs {' and '.join(absent)}, not installed here. Run: {INSTALL_HINT}"] if absent else []


class _Event(ctypes.Structure):
    """`espeak_EVENT`."""

    _fields_ = (
        ("type", ctypes.c_int), ("message", ctypes.c_uint), ("text_position", ctypes.c_int), ("length", ctypes.c_int),
        ("audio_position_ms", ctypes.c_int), ("sample", ctypes.c_int), ("user_data", ctypes.c_void_p),
        ("name", ctypes.c_ubyte * _NAME_BYTES),
    )  # fmt: skip


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(_Event))


class Phoneme(NamedTuple):
    """A phoneme of synthesised speech: `name` in IPA, with its stress mark; empty: a pause. It begins at the sample `start`
    and ends where the next one begins, the last one with the speech."""

    name: str
    start: int


class Synthesiser:
    """One private copy of espeak-ng. The same call gives the same samples, whatever was called before.

    Raises:
        ValueError: the extra `synthetic` is not installed.
        RuntimeError: this platform does not unload libraries, so that the promise above cannot be kept.
    """

    def __init__(self) -> None:
        try:
            import espeakng_loader
        except ImportError as error:
            raise ValueError(
                f"the built-in corpus is spoken by espeak-ng, which is not installed. Run: {INSTALL_HINT}"
            ) from error
        self._data_path = os.fsencode(espeakng_loader.get_data_path())
        self._folder = TemporaryDirectory(prefix="mlsuperb-espeak-")  # so that nobody else holds this library open
        self._library_path = shutil.copy(espeakng_loader.get_library_path(), self._folder.name)
        self._lock = threading.Lock()
        with self._fresh_library():
            pass
        self._check_unloaded()

    def speak(
        self, text: str, *, voice: str, rate_wpm: int, pitch: int, pitch_range: int = 50, seed: int = 0
    ) -> np.ndarray:
        """`text` as int16 samples (T,) at 22,050 Hz.

        Args:
            voice: espeak-ng's name, with a variant if wanted: `fi+f2`.
            rate_wpm: words a minute, 80 to 450.
            pitch: 0 to 99; 50 is the variant's own.
            pitch_range: 0 (monotone) to 99.
            seed: of espeak-ng's own noise.

        Raises:
            ValueError: espeak-ng has no such voice, or produces no sound.
        """
        samples, _ = self._synthesise(
            text, voice=voice, rate_wpm=rate_wpm, pitch=pitch, pitch_range=pitch_range, seed=seed
        )
        return samples

    def speak_phonemes(self, text: str, **settings: Any) -> tuple[np.ndarray, list[Phoneme]]:
        """The samples of `speak`, and the phonemes in them (espeak-ng's phoneme events). `settings` are those of `speak`.

        The first phoneme of a word begins with the word. Within a word, espeak-ng reports a stop at its burst, so that the
        silence of its closure counts as part of the phoneme before it. Names over eight bytes are cut off, which happens to
        a few nasal diphthongs of Portuguese.
        """
        samples, events = self._synthesise(text, options=_PHONEME_EVENTS | _PHONEMES_IN_IPA, **settings)
        phonemes: list[Phoneme] = []
        word_start: int | None = None
        for kind, sample, name in events:
            if kind == _WORD:
                word_start = sample
            elif kind == _PHONEME:
                phonemes.append(Phoneme(name, sample if word_start is None else word_start))
                word_start = None
        return samples, phonemes

    def _synthesise(
        self,
        text: str,
        *,
        voice: str,
        rate_wpm: int,
        pitch: int,
        pitch_range: int = 50,
        seed: int = 0,
        options: int = 0,
    ) -> tuple[np.ndarray, list[tuple[int, int, str]]]:
        """Samples, and events as (type, sample, name); `options` of `espeak_Initialize` say which events there are."""
        chunks: list[bytes] = []
        found: list[tuple[int, int, str]] = []

        def collect(samples: int | None, num_samples: int, events: Any) -> int:
            if samples and num_samples > 0:
                chunks.append(ctypes.string_at(samples, 2 * num_samples))
            for event in takewhile(lambda one: one.type != _END_OF_LIST, (events[place] for place in count())):
                name = bytes(event.name).partition(b"\0")[0] if event.type == _PHONEME else b""
                found.append((event.type, event.sample, name.decode(errors="ignore")))
            return 0

        callback = _Callback(collect)  # espeak-ng keeps only the address: it must live until the end of this call
        encoded = text.encode()
        with self._fresh_library(options) as library:
            library.espeak_SetSynthCallback(callback)
            _select_voice(library, voice)
            for parameter, value in ((_RATE, rate_wpm), (_VOLUME, 100), (_PITCH, pitch), (_PITCH_RANGE, pitch_range)):
                library.espeak_SetParameter(parameter, value, 0)
            library.espeak_ng_SetRandSeed(ctypes.c_long(seed))
            flags = _UTF8 | _END_PAUSE
            size = ctypes.c_size_t(len(encoded) + 1)
            library.espeak_Synth(encoded, size, 0, 0, 0, flags, None, None)
        if not chunks:
            raise ValueError(f"espeak-ng's voice {voice!r} produced no sound for {text!r}")
        return np.frombuffer(b"".join(chunks), dtype="<i2"), found

    def phonemes(self, texts: list[str], *, voice: str, tied: bool = False) -> list[str]:
        """What `voice` would say for each text, in IPA; a switch to another language shows as `(en)`.

        Args:
            tied: write a tie bar between the letters of a phoneme (`t͡ʃ`, also `a͡ɪ`).

        Raises:
            ValueError: espeak-ng has no such voice.
        """
        with self._fresh_library() as library:
            library.espeak_TextToPhonemes.restype = ctypes.c_char_p
            spoken: list[str] = []
            for text in texts:
                if not spoken or "(" in spoken[-1]:  # espeak-ng stays in the language it switched to
                    _select_voice(library, voice)
                spoken.append(_text_to_phonemes(library, text, mode=_IPA | (_TIED if tied else 0)))
            return spoken

    @contextmanager
    def _fresh_library(self, options: int = 0) -> Iterator[ctypes.CDLL]:
        """The library as it is just after loading; one at a time, for its state is global. `options`: further ones of
        `espeak_Initialize`."""
        import _ctypes

        with self._lock:
            library = ctypes.CDLL(self._library_path)
            rate_hz = library.espeak_Initialize(_SYNCHRONOUS, _BUFFER_MS, self._data_path, _DONT_EXIT | options)
            assert rate_hz == SAMPLE_RATE_HZ, rate_hz
            try:
                yield library
            finally:
                library.espeak_Terminate()
                _ctypes.dlclose(library._handle)

    def _check_unloaded(self) -> None:
        try:
            ctypes.CDLL(self._library_path, mode=os.RTLD_NOLOAD | os.RTLD_LAZY)
        except OSError:
            return
        raise RuntimeError(
            "this platform keeps a closed shared library loaded, so espeak-ng cannot be reset and the built-in corpus "
            "would not be reproducible; make it on Linux with glibc and copy the folder"
        )


def _select_voice(library: ctypes.CDLL, voice: str) -> None:
    if library.espeak_SetVoiceByName(voice.encode()) != 0:
        raise ValueError(f"espeak-ng has no voice {voice!r}")


def _text_to_phonemes(library: ctypes.CDLL, text: str, *, mode: int) -> str:
    encoded = ctypes.c_char_p(text.encode())
    rest = ctypes.cast(encoded, ctypes.c_void_p)
    clauses = []
    while rest.value:  # each call speaks one clause and moves `rest` on; null at the end
        clauses.append(library.espeak_TextToPhonemes(ctypes.byref(rest), _UTF8, mode).decode())
    return " ".join(clauses)
