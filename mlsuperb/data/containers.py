"""What the bytes of a file say of its length, found without decoding: libsndfile believes what an MP3's first frame makes likely,
and takes an Ogg or NIST file that was cut short for a whole one."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

# kbit/s by index, for (version 1, layer), then for versions 2 and 2.5 (ISO/IEC 11172-3 and 13818-3, table of bitrate_index)
_KBITS = {
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES_HZ = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}  # by version bits
_SAME = 0xFFFE0C00  # bits of a header that all frames of a stream share: sync, version, layer, rate
_SYNC = re.compile(rb"\xff[\xe2-\xff]")
_FEWEST = 3  # frames that must follow one another: two bytes of a cover picture look like one
_PAGE = b"OggS"
_NIST = re.compile(rb"(channel_count|sample_n_bytes|sample_count) -i (\d+)")
HEAD = 2**13  # bytes: libsndfile leaves 4 kB free before the samples of CAF


class _Frame(NamedTuple):
    """The place of an MPEG frame."""

    at: int
    size: int
    num_samples: int
    header: int


@dataclass(frozen=True)
class MpegStream:
    """What the frames of an MPEG audio stream (MP1, MP2, MP3) say.

    Attributes:
        num_samples: of each channel, without what the encoder's tag says to leave out.
        num_missing: samples that the encoder's tag announces and no frame holds.
        is_joined: whether another stream lies behind the first: frames of another rate, or a second tag.
        sound: the frames that hold sound.
    """

    num_samples: int
    num_missing: int
    is_joined: bool
    sound: tuple[_Frame, ...]


def mpeg_stream(content: bytes) -> MpegStream | None:
    """The stream that `content` holds, other things (ID3 tags, pictures) around it being passed over; None where there are no
    frames of a known length."""
    frames = list(_frames(content))
    tags = {at: tag for at, frame in enumerate(frames) if (tag := _tag(content, frame))}
    sound = tuple(frame for at, frame in enumerate(frames) if at not in tags)
    if not sound:
        return None
    announced, left_out = tags.pop(0, (0, 0))
    per_frame = sound[0].num_samples
    return MpegStream(
        num_samples=max(0, len(sound) * per_frame - left_out),
        num_missing=max(0, announced - len(sound)) * per_frame,
        is_joined=bool(tags) or len({frame.header & _SAME for frame in sound}) > 1,
        sound=sound,
    )


def mpeg_with_length(content: bytes, stream: MpegStream) -> bytes:
    """The frames of sound behind a tag that tells their number, so that a decoder reads all of them."""
    first = stream.sound[0]
    at = _tag_offset(first.header)
    tag = struct.pack(">I", first.header).ljust(at, b"\0") + struct.pack(">4sII", b"Xing", 1, len(stream.sound))
    return tag.ljust(first.size, b"\0") + b"".join(content[one.at : one.at + one.size] for one in stream.sound)


def flac_num_samples(content: bytes) -> int | None:
    """Where the last frame of a FLAC file ends, in samples of each channel (RFC 9639, section 9.1); None where there is none."""
    at = len(content)
    while (at := content.rfind(b"\xff", 0, at)) >= 0:
        if content[at + 1 : at + 2] in (b"\xf8", b"\xf9") and (end := _flac_frame_end(content, at)):
            return end
    return None


def _flac_frame_end(content: bytes, at: int) -> int | None:
    """The sample behind the frame at `at`; None where what begins there is no frame."""
    header = content[at : at + 16].ljust(16, b"\0")  # the longest there is
    ones = 8 - (~header[4] & 0xFF).bit_length()  # leading ones of the coded number say how many bytes it takes
    after = 4 + max(1, ones)
    size_code, size_bytes = header[2] >> 4, {6: 1, 7: 2}.get(header[2] >> 4, 0)
    last = after + size_bytes + {12: 1, 13: 2, 14: 2}.get(header[2] & 15, 0)
    if size_code == 0 or ones in (1, 8) or last > 15 or _crc_8(header[:last]) != header[last]:
        return None
    number = header[4] & 0x7F >> ones
    for byte in header[5:after]:
        number = number << 6 | byte & 0x3F
    size = int.from_bytes(header[after : after + size_bytes], "big") + 1  # where the header spells it out
    if not size_bytes:
        size = 192 if size_code == 1 else 144 << size_code if size_code < 6 else 1 << size_code
    streaminfo = content.index(b"fLaC") + 8
    each = int.from_bytes(content[streaminfo : streaminfo + 2], "big")  # where all blocks but the last have one size
    return (number if header[1] & 1 else number * each) + size


def _crc_8(header: bytes) -> int:
    value = 0
    for byte in header:
        value ^= byte
        for _ in range(8):
            value = (value << 1 ^ (0x07 if value & 0x80 else 0)) & 0xFF
    return value


def flac_with_length(content: bytes, num_samples: int) -> bytes:
    """A FLAC file whose header says that it has this many samples (36 bits at the end of the 18th byte of STREAMINFO, RFC 9639,
    section 8.2)."""
    at = content.index(b"fLaC") + 8 + 10  # marker and header of the block; sizes of blocks and frames
    packed = int.from_bytes(content[at : at + 8], "big") >> 36 << 36 | num_samples
    return content[:at] + packed.to_bytes(8, "big") + content[at + 8 :]


def _frames(content: bytes) -> Iterator[_Frame]:
    """All frames that lie one behind the other; what is between two runs of them is passed over."""
    at = _next_run(content, 0)
    while at is not None and at < len(content):
        frame = _frame(content, at)
        if frame is None or at + frame.size > len(content):
            at = _next_run(content, at + 1)
        else:
            yield frame
            at += frame.size


def _next_run(content: bytes, start: int) -> int | None:
    """Where the next frames begin that lie one behind the other and have the same rate."""
    for found in _SYNC.finditer(content, start):
        frames: list[_Frame] = []
        while len(frames) < _FEWEST:
            frame = _frame(content, frames[-1].at + frames[-1].size if frames else found.start())
            if frame is None or (frames and (frame.header ^ frames[0].header) & _SAME):
                break
            frames.append(frame)
        else:
            return found.start()
    return None


def _frame(content: bytes, at: int) -> _Frame | None:
    if at + 4 > len(content):
        return None
    header = int.from_bytes(content[at : at + 4], "big")
    version, layer, rate, kbits = header >> 19 & 3, 4 - (header >> 17 & 3), header >> 10 & 3, header >> 12 & 15
    if header >> 21 != 0x7FF or version == 1 or layer == 4 or rate == 3 or kbits in (0, 15):
        return None
    per_second, rate_hz = 1000 * _KBITS[version == 3, layer][kbits], _RATES_HZ[version][rate]
    num_samples = 384 if layer == 1 else 576 if layer == 3 and version != 3 else 1152
    slot = 4 if layer == 1 else 1  # bytes; the padding bit adds one slot
    size = (num_samples // 8 // slot * per_second // rate_hz + (header >> 9 & 1)) * slot
    return _Frame(at, size, num_samples, header)


def _tag_offset(header: int) -> int:
    """Bytes from the start of a frame to the tag that stands in the place of its sound: header and side information."""
    mono, first_version = header >> 6 & 3 == 3, header >> 19 & 3 == 3
    return 4 + ((17 if mono else 32) if first_version else (9 if mono else 17))


def _tag(content: bytes, frame: _Frame) -> tuple[int, int] | None:
    """Frames that a Xing, Info or VBRI tag announces (0 where it does not say), and samples to leave out; None without a tag."""
    at = frame.at + _tag_offset(frame.header)
    if content[at : at + 4] in (b"Xing", b"Info"):
        flags = int.from_bytes(content[at + 4 : at + 8], "big")
        announced = int.from_bytes(content[at + 8 : at + 12], "big") if flags & 1 else 0
        lame = at + 8 + 4 * (flags & 1) + 4 * (flags >> 1 & 1) + 100 * (flags >> 2 & 1) + 4 * (flags >> 3 & 1)
        if not content[lame : lame + 4].strip(b"\0"):
            return announced, 0
        delays = int.from_bytes(content[lame + 21 : lame + 24], "big")
        return announced, (delays >> 12) + (delays & 0xFFF)
    if content[frame.at + 36 : frame.at + 40] == b"VBRI":
        return int.from_bytes(content[frame.at + 50 : frame.at + 54], "big"), 0
    return None


def declared_end(head: bytes) -> int | None:
    """Where the recording ends that a file of NIST, RF64, W64, AU or CAF begins with, in bytes from its start, by the first
    `HEAD` bytes; None where they do not say."""
    if head.startswith(b"NIST_1A"):
        factors = dict(_NIST.findall(head))
        return int(head[8:16]) + math.prod(map(int, factors.values())) if len(factors) == 3 else None
    if head.startswith(b"RF64"):
        return 8 + int.from_bytes(head[20:28], "little")
    if head.startswith(b"riff"):
        return int.from_bytes(head[16:24], "little")
    if head.startswith(b".snd"):
        return int.from_bytes(head[4:8], "big") + int.from_bytes(head[8:12], "big")
    at = 8 if head.startswith(b"caff") else len(head)
    while at + 12 <= len(head):
        kind, size = head[at : at + 4], int.from_bytes(head[at + 4 : at + 12], "big")
        at += 12 + size
        if kind == b"data":
            return at
    return None


def ogg_is_cut(content: bytes) -> bool:
    """Whether the last page of an Ogg file (or of the end of one) has fewer bytes than it says."""
    at = content.rfind(_PAGE)
    if at < 0 or at + 27 > len(content):
        return True
    num_segments = content[at + 26]
    lengths = content[at + 27 : at + 27 + num_segments]
    return len(lengths) < num_segments or at + 27 + num_segments + sum(lengths) > len(content)


def ogg_is_joined(content: bytes) -> bool:
    """Whether another stream begins behind the first one."""
    starts = [found.start() for found in re.finditer(rb"OggS\0[\x02\x03\x06\x07]", content)]
    return any(_PAGE in content[one + 4 : other] for one, other in pairwise(starts))
