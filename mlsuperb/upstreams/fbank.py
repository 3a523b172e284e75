"""Log-mel filterbanks: the baseline that scores 0 in SUPERB_s."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor

from mlsuperb.upstreams.base import SAMPLE_RATE_HZ, Front, Upstream
from mlsuperb.upstreams.padding import reflect_ends


class Fbank(Upstream):
    """Natural log of a mel filterbank over an STFT power spectrum, one layer.

    The defaults are ML-SUPERB's (ESPnet `egs2/ml_superb/asr1/conf/tuning/train_asr_fbank_*.yaml`: n_fft 1024, hop 320;
    the rest are the defaults of ESPnet's `DefaultFrontend`: 80 librosa (Slaney) mel filters, floor 1e-10, frames
    centred by reflection). One difference: ESPnet reflects at the end of the padded batch, so that the last frames of
    an utterance depend on its neighbours; here each utterance is reflected at its own end, however short it is.

    Args:
        n_fft: points of the Fourier transform.
        win_length: samples of the window; `n_fft` if None.
        hop_length: samples from one frame to the next.
        num_mels: mel filters, the feature size.
        f_min, f_max: edges of the filterbank in Hz.
        window: shape of the window.
        log_floor: smallest filter output before the logarithm.
    """

    cheap = True
    window_values: Tensor  # (W,)
    filters: Tensor  # (K, M): K frequencies, M mel filters

    def __init__(
        self,
        *,
        n_fft: Annotated[int, Field(ge=2, multiple_of=2)] = 1024,
        win_length: PositiveInt | None = None,
        hop_length: PositiveInt = 320,
        num_mels: PositiveInt = 80,
        f_min: NonNegativeFloat = 0.0,
        f_max: PositiveFloat = 8000.0,
        window: Literal["hann", "hamming"] = "hann",
        log_floor: PositiveFloat = 1e-10,
    ) -> None:
        super().__init__()
        if found := self.problems(n_fft=n_fft, win_length=win_length, hop_length=hop_length, f_min=f_min, f_max=f_max):
            raise ValueError(" ".join(found))
        self.num_layers = 1
        self.layer_size = num_mels
        self.frame_rate_hz = SAMPLE_RATE_HZ / hop_length
        self.n_fft = n_fft
        self.hop_length = hop_length
        self.log_floor = log_floor
        shape = torch.hann_window if window == "hann" else torch.hamming_window
        self.register_buffer("window_values", shape(win_length or n_fft), persistent=False)
        self.register_buffer("filters", _slaney_filters(n_fft, num_mels, f_min, f_max), persistent=False)

    @classmethod
    def problems(
        cls, *, n_fft: int, win_length: int | None, hop_length: int, f_min: float, f_max: float, **_others: object
    ) -> list[str]:
        """Settings that do not go together, a sentence each."""
        win_length = win_length or n_fft
        found = []
        if n_fft % 2:
            found.append(f"upstream.n_fft is {n_fft}, but must be even, so that frames can be centred.")
        if not hop_length <= win_length <= n_fft:
            found.append(
                f"upstream.hop_length {hop_length}, win_length {win_length} and n_fft {n_fft} must ascend: a "
                "shorter window skips samples, a longer one does not fit the transform."
            )
        if not 0 <= f_min < f_max <= SAMPLE_RATE_HZ / 2:
            found.append(f"upstream.f_min {f_min} and f_max {f_max} must satisfy 0 <= f_min < f_max <= 8000 Hz.")
        return found

    def run_front(self, wave_BT: Tensor, lengths_B: Tensor) -> Front:
        """Log-mels, `samples // hop_length + 1` frames of each utterance."""
        with torch.autocast(wave_BT.device.type, enabled=False):
            return Front(self._log_mels(wave_BT.float(), lengths_B), self.num_frames(lengths_B))

    def encode(self, hidden_BFD: Tensor, lengths_B: Tensor) -> tuple[Tensor]:
        return (hidden_BFD,)

    def _log_mels(self, wave_BT: Tensor, lengths_B: Tensor) -> Tensor:
        spectrum_BKF = torch.stft(
            reflect_ends(wave_BT, lengths_B, margin=self.n_fft // 2),
            self.n_fft,
            hop_length=self.hop_length,
            win_length=len(self.window_values),
            window=self.window_values,
            center=False,
            return_complex=True,
        )
        power_BFK = torch.view_as_real(spectrum_BKF).square().sum(-1).transpose(1, 2)
        return (power_BFK @ self.filters).clamp(min=self.log_floor).log()

    def num_frames(self, lengths_B: Tensor) -> Tensor:
        return torch.div(lengths_B, self.hop_length, rounding_mode="floor") + 1


def _slaney_filters(n_fft: int, num_mels: int, f_min: float, f_max: float) -> Tensor:
    """(K, M) triangular filters of unit area on Slaney's mel scale, as `librosa.filters.mel` makes by default."""
    from torchaudio.functional import melscale_fbanks

    return melscale_fbanks(n_fft // 2 + 1, f_min, f_max, num_mels, SAMPLE_RATE_HZ, norm="slaney", mel_scale="slaney")
