from __future__ import annotations

import torch
from torch import nn
from torchaudio.models.conformer import ConformerLayer

from mlsuperb.layers.conformer import ConformerBlock
from mlsuperb.layers.convolution import ConvolutionalGating, convolve, depthwise_conv, masked_batch_norm

VALID_BF = torch.arange(9) < torch.tensor([[9], [4], [1]])


def test_a_convolution_sees_zeros_beyond_the_end() -> None:
    conv, values_BFC = depthwise_conv(6, kernel=5), torch.randn(3, 9, 6)
    found_BFC = convolve(conv, values_BFC, VALID_BF)
    assert found_BFC.shape == values_BFC.shape
    for row, length in enumerate((9, 4, 1)):
        alone_CF = conv(values_BFC[row, :length].T[None])[0]
        torch.testing.assert_close(found_BFC[row, :length], alone_CF.T)


def test_batch_norm_of_valid_frames_is_torchs_of_these_frames_alone() -> None:
    torch.manual_seed(0)
    ours, reference = nn.BatchNorm1d(6), nn.BatchNorm1d(6)
    nn.init.normal_(ours.weight)
    reference.load_state_dict(ours.state_dict())
    for step in range(3):
        values_BFC = 2 + 3 * torch.randn(3, 9, 6)
        values_BFC[~VALID_BF] = float("nan")
        found_BFC = masked_batch_norm(ours, values_BFC, VALID_BF)
        torch.testing.assert_close(found_BFC[VALID_BF], reference(values_BFC[VALID_BF]))
        for name, buffer in reference.named_buffers():
            torch.testing.assert_close(ours.get_buffer(name), buffer, msg=f"{name} after {step + 1} steps")
    values_BFC = torch.randn(3, 9, 6)
    found_BFC = masked_batch_norm(ours.eval(), values_BFC, VALID_BF)
    torch.testing.assert_close(found_BFC[VALID_BF], reference.eval()(values_BFC[VALID_BF]))


def test_batch_norm_of_one_frame_gives_numbers() -> None:
    norm = nn.BatchNorm1d(6)
    found_BFC = masked_batch_norm(norm, torch.randn(1, 1, 6), torch.ones(1, 1, dtype=torch.bool))
    torch.testing.assert_close(found_BFC, torch.zeros(1, 1, 6))
    assert all(buffer.isfinite().all() for buffer in norm.buffers())


def test_what_the_gate_lets_pass_is_dropped_in_training_alone() -> None:
    torch.manual_seed(0)
    gating = ConvolutionalGating(8, hidden_size=16, kernel=3, dropout=0.5)
    values_BFH, valid_BF = torch.randn(2, 6, 8), torch.ones(2, 6, dtype=torch.bool)
    assert not torch.allclose(gating(values_BFH, valid_BF), gating(values_BFH, valid_BF))
    gating.eval()
    torch.testing.assert_close(gating(values_BFH, valid_BF), gating(values_BFH, valid_BF))


def test_a_conformer_block_is_torchaudios() -> None:
    """With absolute positions and macaron; torchaudio has another epsilon in its layer norms."""
    torch.manual_seed(0)
    settings = {"dropout": 0.1, "attention_dropout": 0.1, "macaron": True, "positions": "absolute"}
    block = ConformerBlock(16, num_heads=2, ffn_size=24, conv_kernel=5, **settings).eval()
    layer = ConformerLayer(16, 24, 2, depthwise_conv_kernel_size=5).eval()
    for module in layer.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = 1e-12
    for theirs, norm, ffn in (
        (layer.ffn1, block.macaron_norm, block.macaron),
        (layer.ffn2, block.ffn_norm, block.ffn),
    ):
        theirs.sequential[0].load_state_dict(norm.state_dict())
        theirs.sequential[1].load_state_dict(ffn[0].state_dict())
        theirs.sequential[4].load_state_dict(ffn[3].state_dict())
    three = (block.attention.query, block.attention.key, block.attention.value)
    layer.self_attn.in_proj_weight.data = torch.cat([part.weight for part in three]).detach()
    layer.self_attn.in_proj_bias.data = torch.cat([part.bias for part in three]).detach()
    conv = layer.conv_module
    pairs = [(layer.self_attn_layer_norm, block.attention_norm), (layer.self_attn.out_proj, block.attention.out)]
    pairs += [(conv.layer_norm, block.conv_norm), (conv.sequential[0], block.conv.expand)]
    pairs += [(conv.sequential[2], block.conv.depthwise), (conv.sequential[3], block.conv.norm)]
    pairs += [(conv.sequential[5], block.conv.shrink), (layer.final_layer_norm, block.final_norm)]
    for theirs, ours in pairs:
        theirs.load_state_dict(ours.state_dict(), strict=False)  # theirs may have no bias
    values_BFH = torch.randn(2, 9, 16)
    found_BFH = block(values_BFH, torch.ones(2, 9, dtype=torch.bool))
    torch.testing.assert_close(found_BFH, layer(values_BFH.transpose(0, 1), None).transpose(0, 1))
