from __future__ import annotations

import pytest

from mlsuperb.espnet.keys import CTC_LAYER, HEADS, EncoderKind, older_names
from mlsuperb.heads.base import Head
from mlsuperb.heads.conformer import ConformerHead
from mlsuperb.heads.e_branchformer import EBranchformerHead
from mlsuperb.heads.transformer import TransformerHead
from mlsuperb.objectives.ctc import CTC

SIZES = {"input_size": 24, "projection": 16, "size": 16, "num_heads": 2, "ffn_size": 8, "num_blocks": 2}
OURS: dict[EncoderKind, list[Head]] = {
    "transformer": [TransformerHead(**SIZES)],
    "conformer": [ConformerHead(**SIZES), ConformerHead(**SIZES, macaron=False, positions="absolute")],
    "e_branchformer": [EBranchformerHead(**SIZES, cgmlp_size=8, macaron=macaron) for macaron in (True, False)],
}
KNOWN = [  # from `state_dict` of ESPnet 202511's own models
    ("transformer", "preencoder.linear_out.weight", "projection.weight"),
    ("transformer", "encoder.embed.conv.2.bias", "frontend.conv2.bias"),
    ("transformer", "encoder.embed.out.0.weight", "frontend.out.weight"),
    ("transformer", "encoder.encoders.0.norm1.weight", "blocks.0.attention_norm.weight"),
    ("transformer", "encoder.encoders.11.feed_forward.w_2.bias", "blocks.11.ffn.3.bias"),
    ("conformer", "encoder.encoders.3.self_attn.pos_bias_u", "blocks.3.attention.content_bias_NK"),
    ("conformer", "encoder.encoders.3.conv_module.norm.running_var", "blocks.3.conv.norm.running_var"),
    ("conformer", "encoder.encoders.3.norm_ff.weight", "blocks.3.ffn_norm.weight"),
    ("conformer", "encoder.encoders.3.norm_ff_macaron.weight", "blocks.3.macaron_norm.weight"),
    ("e_branchformer", "encoder.encoders.1.attn.linear_pos.weight", "blocks.1.attention.position.weight"),
    ("e_branchformer", "encoder.encoders.1.cgmlp.channel_proj1.0.bias", "blocks.1.cgmlp.expand.bias"),
    ("e_branchformer", "encoder.encoders.1.depthwise_conv_fusion.weight", "blocks.1.merge_conv.weight"),
    ("e_branchformer", "encoder.after_norm.bias", "final_norm.bias"),
]


@pytest.mark.parametrize(("encoder", "theirs", "ours"), KNOWN)
def test_known_names(encoder: EncoderKind, theirs: str, ours: str) -> None:
    assert HEADS[encoder].ours(theirs) == ours
    assert HEADS[encoder].theirs(ours) == theirs


@pytest.mark.parametrize("encoder", OURS)
def test_every_tensor_of_a_head_has_a_name_of_its_own(encoder: EncoderKind) -> None:
    for head in OURS[encoder]:
        names = list(head.state_dict())
        assert len(names) > 30
        theirs = [HEADS[encoder].theirs(name) for name in names]
        assert len(set(theirs)) == len(names)
        assert [HEADS[encoder].ours(name) for name in theirs] == names


def test_what_202611_renamed_is_read_under_its_older_name() -> None:
    """From `state_dict` of ESPnet 202611's own models: `conv2d2` and `conv2d` changed, `conv2d8` did not."""
    renamed = {"encoder.embed.conv.2.bias": 1, "encoder.embed.out.weight": 2, "encoder.embed.out.bias": 3}
    older = {"encoder.embed.conv.2.bias": 1, "encoder.embed.out.0.weight": 2, "encoder.embed.out.0.bias": 3}
    assert older_names(renamed) == older_names(older) == older
    of_three = renamed | {"encoder.embed.conv.4.weight": 4}
    assert older_names(of_three) == of_three
    others = {"decoder.embed.out.weight": 1, "encoder.embed.out.1.alpha": 2, "encoder.embed.pos_enc.alpha": 3}
    assert older_names(others) == others


def test_the_output_layer() -> None:
    names = list(CTC(input_size=4, vocab_size=5).state_dict())
    assert [CTC_LAYER.theirs(name) for name in names] == ["ctc.ctc_lo.weight", "ctc.ctc_lo.bias"]
    assert [CTC_LAYER.ours(CTC_LAYER.theirs(name)) for name in names] == names


def test_what_has_no_counterpart_is_refused_by_name() -> None:
    for name in ("encoder.encoders.0.concat_linear.weight", "encoder.embed.0.weight", "encoder.encoders.0.norm10.bias"):
        with pytest.raises(ValueError, match=rf"parameter {name} has no counterpart in our transformer head"):
            HEADS["transformer"].ours(name)
    with pytest.raises(ValueError, match=r"no counterpart of blocks.0.cgmlp.expand.bias"):
        HEADS["conformer"].theirs("blocks.0.cgmlp.expand.bias")
    with pytest.raises(ValueError, match=r"decoder.embed.0.weight has no counterpart in our CTC"):
        CTC_LAYER.ours("decoder.embed.0.weight")
    with pytest.raises(ValueError, match=r"no counterpart of dropout.weight"):
        CTC_LAYER.theirs("dropout.weight")
