"""Audio inside a page: small, and playable everywhere.

MP3, since Chromium, Firefox and Safari all play it (Safari learned Ogg Vorbis and Opus only lately); at 16 kHz mono
libsndfile's encoder (LAME) gives about 4 kB a second with its default settings.
"""

from __future__ import annotations

import base64
import io

import soundfile

from mlsuperb.data.audio import load_audio
from mlsuperb.types import SAMPLE_RATE_HZ

MAX_S = 20.0  # of one utterance
MAX_BYTES = 6_000_000  # of one page, before base64 adds a third


class SoundBox:
    """Encodes utterances until `max_num` of them or `MAX_BYTES` are in the page; says of each other one why it is not."""

    def __init__(self, *, max_num: int) -> None:
        self.max_num = max_num
        self.num, self.num_bytes, self.num_refused, self.num_gone, self.num_cut = 0, 0, 0, 0, 0

    def add(self, audio: str, *, start_s: float, duration_s: float) -> tuple[str, str]:
        """A data URI and a remark; without the first, the second says why."""
        if self.num >= self.max_num or self.num_bytes >= MAX_BYTES:
            self.num_refused += 1
            return "", "No audio: the page has reached its limit."
        try:
            wave_T = load_audio(audio, start_s=start_s, duration_s=min(duration_s, MAX_S))
        except (ValueError, OSError):
            self.num_gone += 1
            return "", "No audio: the file is gone or cannot be read."
        buffer = io.BytesIO()
        soundfile.write(buffer, wave_T, SAMPLE_RATE_HZ, format="MP3", subtype="MPEG_LAYER_III")
        data = buffer.getvalue()
        self.num, self.num_bytes = self.num + 1, self.num_bytes + len(data)
        cut = duration_s > MAX_S
        self.num_cut += cut
        remark = f"The first {MAX_S:.0f} of {duration_s:.0f} s." if cut else ""
        return f"data:audio/mpeg;base64,{base64.b64encode(data).decode('ascii')}", remark

    def summary(self) -> str:
        """How much audio is in the page, and how much is not and why."""
        parts = [f"{self.num} utterance{'s' if self.num != 1 else ''} with audio ({self.num_bytes / 1e6:.1f} MB, MP3)"]
        if self.num_refused:
            limit = f"at most {self.max_num} and {MAX_BYTES / 1e6:.0f} MB"
            parts.append(f"{self.num_refused} without, to keep the page small ({limit}; --max-audio)")
        if self.num_gone:
            parts.append(f"{self.num_gone} whose audio is gone or cannot be read")
        if self.num_cut:
            parts.append(f"{self.num_cut} cut to {MAX_S:.0f} s")
        return "; ".join(parts) + "."
