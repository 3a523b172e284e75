"""Log-mels."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from mlsuperb.upstreams.fbank import Fbank
from scripts.parity.report import Check, relatively_close


def fbank_checks() -> Iterator[Check]:
    """Log-mels against ESPnet's `DefaultFrontend` with ML-SUPERB's settings."""
    try:
        from espnet2.asr.frontend.default import DefaultFrontend

        frontend = DefaultFrontend(fs=16000, n_fft=1024, hop_length=320)
    except ImportError as error:
        yield Check("log-mels: not compared", f"{error}", None)
        return
    wave_BT, lengths_B = 0.1 * torch.randn(1, 32000), torch.tensor([32000])
    theirs, _ = frontend(wave_BT, lengths_B)
    yield relatively_close("log-mels, 2 s", Fbank()(wave_BT, lengths_B).layers[0], theirs)
