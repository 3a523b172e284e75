from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mlsuperb.heads.specaug import Identity, SpecAugment

NO_MASKS = {"num_freq_masks": 0, "num_time_masks": 0}


def warped_by_interpolation(feats_FD: Tensor, centre: int, warped: int) -> Tensor:
    """The original's way: both sides resized by bicubic interpolation."""
    num_frames, size = feats_FD.shape
    parts = ((feats_FD[:centre], warped), (feats_FD[centre:], num_frames - warped))
    resized = [
        nn.functional.interpolate(part[None, None], (frames, size), mode="bicubic", align_corners=False)
        for part, frames in parts
    ]
    return torch.cat(resized, dim=2)[0, 0]


def test_time_warp_gives_every_warp_of_the_original_and_no_other() -> None:
    torch.manual_seed(0)
    num_frames, window = 14, 5
    feats_FD = torch.randn(num_frames, 3)
    candidates = {
        (centre, warped): warped_by_interpolation(feats_FD, centre, warped)
        for centre in range(window, num_frames - window)
        for warped in range(centre - window + 1, centre + window + 1)
    }
    augmented_BFD = SpecAugment(**NO_MASKS)(feats_FD.expand(1000, -1, -1), torch.full((1000,), num_frames))
    seen = set()
    for one_FD in augmented_BFD:
        distances = {key: float((one_FD - expected).abs().max()) for key, expected in candidates.items()}
        nearest = min(distances, key=distances.__getitem__)
        assert distances[nearest] < 1e-5
        seen.add(nearest)
    assert len(candidates) == 40
    unmoved = {(centre, centre) for centre in range(5, 9)}  # four names of one result
    assert seen - unmoved == set(candidates) - unmoved
    assert seen & unmoved


def test_frequency_masks() -> None:
    torch.manual_seed(0)
    specaug = SpecAugment(time_warp_window=0, num_freq_masks=1, num_time_masks=0)
    augmented_BFD = specaug(torch.ones(4000, 2, 60), torch.full((4000,), 2))
    assert torch.equal(augmented_BFD[:, 0], augmented_BFD[:, 1])
    masked_BD = augmented_BFD[:, 0] == 0
    widths_B = masked_BD.sum(1)
    counts = widths_B.bincount(minlength=28)
    assert (counts[:27] > 4000 / 27 * 0.6).all()
    assert counts[27:].sum() == 0
    edges_B = (masked_BD.int().diff(dim=1) != 0).sum(1) + masked_BD[:, 0] + masked_BD[:, -1]
    assert set(edges_B[widths_B > 0].tolist()) == {2}  # one span each
    assert masked_BD.any(0).tolist() == [True] * 59 + [False]  # the original, too, leaves the last place out


def test_time_masks_are_sized_by_each_utterance() -> None:
    torch.manual_seed(0)
    specaug = SpecAugment(time_warp_window=0, num_freq_masks=0, num_time_masks=1)
    lengths_B = torch.tensor([200, 60, 39] * 1000)
    masked_BF = specaug(torch.ones(3000, 200, 1), lengths_B)[..., 0] == 0
    for length, widest in ((200, 9), (60, 2), (39, 0)):  # floor(0.05 * length) - 1
        widths_B = masked_BF[lengths_B == length].sum(1)
        assert set(widths_B.tolist()) == set(range(widest + 1))
        if widest:
            assert masked_BF[lengths_B == length][:, : length - 1].any(0).all()
        assert not masked_BF[lengths_B == length][:, length:].any()


def test_ml_superb_settings_mask_what_they_should_on_average() -> None:
    torch.manual_seed(0)
    augmented_BFD = SpecAugment()(torch.ones(500, 300, 80), torch.full((500,), 300))
    freq_share = (augmented_BFD.amax(1) == 0).float().mean()
    time_share = (augmented_BFD.amax(2) == 0).float().mean()
    assert freq_share == pytest.approx(1 - (1 - 13 / 80) ** 2, abs=0.03)
    assert time_share == pytest.approx(1 - (1 - 7 / 300) ** 10, abs=0.03)  # widths 0..14


def test_nothing_beyond_a_length_is_touched_and_nothing_is_read_from_there() -> None:
    lengths_B = torch.tensor([120, 50, 11, 10, 1])
    feats_BFD, beyond_BF = torch.randn(5, 120, 40), torch.arange(120) >= lengths_B[:, None]
    garbage_BFD = torch.where(beyond_BF[..., None], torch.nan, feats_BFD)
    augmented = []
    for input_BFD in (feats_BFD, garbage_BFD):
        torch.manual_seed(1)
        augmented.append(SpecAugment()(input_BFD, lengths_B))
    assert torch.equal(augmented[0][beyond_BF], feats_BFD[beyond_BF])
    assert augmented[1][beyond_BF].isnan().all()
    assert torch.equal(augmented[0][~beyond_BF], augmented[1][~beyond_BF])
    assert not torch.equal(augmented[0][0], feats_BFD[0])


def test_utterances_are_augmented_apart_and_the_input_is_kept() -> None:
    feats_BFD = torch.randn(1, 100, 80).repeat(4, 1, 1)
    before_BFD = feats_BFD.clone()
    augmented_BFD = SpecAugment()(feats_BFD, torch.full((4,), 100))
    assert len({one.numpy().tobytes() for one in augmented_BFD}) == 4
    assert torch.equal(feats_BFD, before_BFD)


def test_a_seed_repeats_it() -> None:
    feats_BFD, lengths_B = torch.randn(3, 100, 80), torch.tensor([100, 80, 60])
    state = torch.get_rng_state()
    first_BFD = SpecAugment()(feats_BFD, lengths_B)
    torch.set_rng_state(state)
    assert torch.equal(SpecAugment()(feats_BFD, lengths_B), first_BFD)


def test_off_in_eval_mode() -> None:
    feats_BFD, lengths_B = torch.randn(2, 50, 80), torch.tensor([50, 30])
    assert SpecAugment().eval()(feats_BFD, lengths_B) is feats_BFD
    assert Identity()(feats_BFD, lengths_B) is feats_BFD


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradients_and_dtype_pass_through(dtype: torch.dtype) -> None:
    feats_BFD = torch.randn(2, 100, 80, dtype=dtype, requires_grad=True)
    augmented_BFD = SpecAugment()(feats_BFD, torch.tensor([100, 70]))
    assert augmented_BFD.dtype == dtype
    augmented_BFD.square().sum().backward()
    assert feats_BFD.grad is not None
    assert feats_BFD.grad.isfinite().all()
