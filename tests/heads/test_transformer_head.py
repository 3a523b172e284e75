from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch import nn

from mlsuperb.heads.inputs import UtteranceNorm
from mlsuperb.heads.transformer import TransformerHead
from mlsuperb.layers.frontends import FrontendName, make_frontend
from mlsuperb.layers.positions import Positions
from mlsuperb.layers.transformer import TransformerBlock

FRONTENDS = get_args(FrontendName)
SMALL = {"input_size": 24, "projection": 16, "size": 32, "num_heads": 4, "ffn_size": 48}


def small_head(**settings: object) -> TransformerHead:
    torch.manual_seed(0)
    return TransformerHead(**{**SMALL, **settings}).eval()  # type: ignore[arg-type]


def test_size_of_the_documented_head() -> None:
    projection = 1024 * 80 + 80
    conv = (9 * 256 + 256) + (256 * 9 * 256 + 256) + (256 * 37 * 256 + 256)
    attention, ffn, norms = 4 * (256 * 256 + 256), (256 * 1024 + 1024) + (1024 * 256 + 256), 2 * (256 + 256)
    expected = projection + conv + 2 * (attention + ffn + norms) + 512
    assert expected == 4_679_760
    head = TransformerHead(input_size=1024)
    assert sum(parameter.numel() for parameter in head.parameters()) == expected
    assert head.output_size == 256


def test_a_projection_that_changes_nothing_is_left_out() -> None:
    assert isinstance(TransformerHead(input_size=80).projection, nn.Identity)
    assert isinstance(TransformerHead(input_size=768).projection, nn.Linear)
    assert isinstance(TransformerHead(input_size=40, projection=None).projection, nn.Identity)


@pytest.mark.parametrize("input_norm", ["mean", "mean_var", "none"])
@pytest.mark.parametrize("frontend", FRONTENDS)
def test_padding_never_changes_a_result(frontend: str, input_norm: str) -> None:
    head = small_head(frontend=frontend, input_norm=input_norm)
    lengths_B = torch.tensor([40, 39, 23, 8, 7, 6, 3, 2, 1])
    feats_BFD = torch.randn(len(lengths_B), 47, 24)  # seven frames of garbage behind the longest, more behind the rest
    together = head(feats_BFD, lengths_B)
    assert torch.equal(together.lengths_B, head.num_frames(lengths_B))
    assert (together.lengths_B >= 1).all()
    for row, length in enumerate(lengths_B.tolist()):
        alone = head(feats_BFD[row : row + 1, :length], lengths_B[row : row + 1])
        frames = int(alone.lengths_B)
        assert alone.values.shape == (1, frames, 32)
        assert int(together.lengths_B[row]) == frames
        torch.testing.assert_close(together.values[row, :frames], alone.values[0], rtol=1e-4, atol=1e-5)
        assert not together.values[row, frames:].any()


@pytest.mark.parametrize(
    ("frontend", "expected"),
    [
        ("conv2d2", {1: 1, 7: 1, 8: 1, 9: 2, 50: 22, 300: 147, 301: 148}),
        ("conv2d", {1: 1, 7: 1, 8: 1, 10: 1, 11: 2, 50: 11, 301: 74}),
        ("conv1d2", {1: 1, 2: 1, 3: 2, 100: 50, 101: 51}),
        ("conv1d4", {1: 1, 4: 1, 5: 2, 100: 25, 101: 26}),
        ("linear", {1: 1, 100: 100}),
    ],
)
def test_number_of_frames(frontend: str, expected: dict[int, int]) -> None:
    head = small_head(frontend=frontend)
    for frames_in, frames_out in expected.items():
        assert int(head.num_frames(torch.tensor([frames_in]))) == frames_out
        assert head(torch.randn(1, frames_in, 24), torch.tensor([frames_in])).values.shape[1] == frames_out


def test_an_utterance_without_frames_gives_numbers() -> None:
    for frontend in FRONTENDS:
        encoded = small_head(frontend=frontend, input_norm="mean_var")(torch.zeros(2, 9, 24), torch.tensor([9, 0]))
        assert encoded.values.isfinite().all()
        assert int(encoded.lengths_B[1]) == 1


@pytest.mark.parametrize("frontend", FRONTENDS)
def test_every_parameter_and_every_valid_frame_has_a_gradient(frontend: str) -> None:
    head = small_head(frontend=frontend, input_norm="mean_var").train()
    feats_BFD = torch.randn(2, 30, 24)
    feats_BFD[:, :, 3] = 0  # a feature that SpecAugment has masked
    feats_BFD.requires_grad_()
    weights_BFH = torch.randn_like(head(feats_BFD, torch.tensor([30, 17])).values)
    (head(feats_BFD, torch.tensor([30, 17])).values * weights_BFH).sum().backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        if not name.endswith("key.bias"):  # shifts all scores of a query alike: no effect, no gradient
            assert parameter.grad.abs().sum() > 1e-6, name
    assert feats_BFD.grad is not None
    assert feats_BFD.grad.isfinite().all()
    assert not feats_BFD.grad[1, 17:].any()


def test_blocks_are_torch_encoder_layers() -> None:
    block = TransformerBlock(32, num_heads=4, ffn_size=48, dropout=0.1, attention_dropout=0.1).eval()
    layer = nn.TransformerEncoderLayer(32, 4, 48, norm_first=True, batch_first=True, layer_norm_eps=1e-12).eval()
    attention = block.attention
    three = (attention.query, attention.key, attention.value)
    layer.self_attn.in_proj_weight.data = torch.cat([part.weight for part in three]).detach()
    layer.self_attn.in_proj_bias.data = torch.cat([part.bias for part in three]).detach()
    pairs = [(layer.self_attn.out_proj, attention.out), (layer.linear1, block.ffn[0]), (layer.linear2, block.ffn[3])]
    for theirs, ours in [*pairs, (layer.norm1, block.attention_norm), (layer.norm2, block.ffn_norm)]:
        theirs.load_state_dict(ours.state_dict())
    values_BFH = torch.randn(2, 9, 32)
    keys_BF = torch.arange(9) < torch.tensor([[9], [5]])
    expected_BFH = layer(values_BFH, src_key_padding_mask=~keys_BF)
    torch.testing.assert_close(block(values_BFH, keys_BF)[keys_BF], expected_BFH[keys_BF])


def test_positions() -> None:
    coded_BFH = Positions(dropout=0.1).eval()(torch.full((1, 6, 8), 0.5))
    for frame in range(6):
        for pair in range(4):
            angle = torch.tensor(frame / 10000 ** (2 * pair / 8))
            waves = torch.stack([angle.sin(), angle.cos()])
            torch.testing.assert_close(coded_BFH[0, frame, 2 * pair : 2 * pair + 2], 0.5 * 8**0.5 + waves)


def test_utterance_norm() -> None:
    feats_BFD, lengths_B = 3 + 2 * torch.randn(2, 50, 4), torch.tensor([50, 20])
    for kind, variance in (("mean", None), ("mean_var", 1.0)):
        normed_BFD = UtteranceNorm(kind)(feats_BFD, lengths_B)  # type: ignore[arg-type]
        for row, length in enumerate((50, 20)):
            valid_FD = normed_BFD[row, :length]
            torch.testing.assert_close(valid_FD.mean(0), torch.zeros(4), atol=1e-5, rtol=0)
            expected_D = (
                feats_BFD[row, :length].var(0, correction=0) if variance is None else torch.full((4,), variance)
            )
            torch.testing.assert_close(valid_FD.var(0, correction=0), expected_D)
            assert not normed_BFD[row, length:].any()


def test_dropout_in_training_only() -> None:
    head, feats_BFD, lengths_B = small_head(), torch.randn(1, 30, 24), torch.tensor([30])
    assert torch.equal(head(feats_BFD, lengths_B).values, head(feats_BFD, lengths_B).values)
    head.train()
    assert not torch.equal(head(feats_BFD, lengths_B).values, head(feats_BFD, lengths_B).values)


def test_bf16_autocast_stays_close() -> None:
    head, feats_BFD, lengths_B = small_head(), torch.randn(2, 30, 24), torch.tensor([30, 20])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        values_BFH = head(feats_BFD.bfloat16(), lengths_B).values
    torch.testing.assert_close(values_BFH.float(), head(feats_BFD, lengths_B).values, atol=0.1, rtol=0.1)


def test_settings_that_do_not_go_together() -> None:
    with pytest.raises(ValueError, match=r"head.size is 30 and head.num_heads 4.*divides"):
        small_head(size=30)
    assert TransformerHead.problems(size=15, num_heads=5, dropout=0.1) != []
    assert TransformerHead.problems(size=256, num_heads=8) == []
    with pytest.raises(ValueError, match=r"conv2d2 needs at least 7 features per frame, but gets 5.*head.projection"):
        small_head(projection=5)
    with pytest.raises(ValueError, match=r"head.frontend is 'conv3d'; choose one of conv2d2, conv2d, conv1d4"):
        make_frontend("conv3d", input_size=80, output_size=32)  # type: ignore[arg-type]
