"""OWSM-CTC's encoder. That it computes what ESPnet's does is checked by `scripts/parity/owsm.py`."""

from __future__ import annotations

import inspect
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_owsm import CONFIG, CTC, TOKENS, weights, write_owsm

from mlsuperb.config.compose import compose
from mlsuperb.layers.attention import Attention
from mlsuperb.upstreams.fbank import Fbank
from mlsuperb.upstreams.owsm import Owsm, OwsmEncoder, OwsmStack
from mlsuperb.upstreams.owsm_ctc import OWSM_CTC, OwsmCtc
from mlsuperb.upstreams.owsm_files import read_settings

FILE = "exp/s2t_train/valid.total_count.ave_5best.pth"


@pytest.fixture
def folder(checkpoints: dict[str, Path], tmp_path: Path) -> Path:
    """A copy to change."""
    return shutil.copytree(checkpoints["owsm_ctc"], tmp_path / "ctc")


def noise(num_samples: int = 24_000) -> torch.Tensor:
    return 0.1 * torch.randn(1, num_samples, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def layers(upstream: OwsmStack) -> torch.Tensor:
    return torch.stack(list(upstream.eval()(noise(), torch.tensor([24_000])).layers))


@torch.no_grad()
def test_the_tokens_before_the_frames_are_language_unknown_and_asr(checkpoints: dict[str, Path]) -> None:
    """By their places in the configuration's own list, through the projection to the encoder's size."""
    upstream, saved = OwsmCtc(checkpoint=str(checkpoints["owsm_ctc"])), weights(CTC)
    rows = saved["embed.weight"][[TOKENS.index("<nolang>"), TOKENS.index("<asr>")]]
    expected = rows @ saved["embed_proj.weight"].T + saved["embed_proj.bias"]
    torch.testing.assert_close(upstream.model.prefix_PD.data, expected)


@torch.no_grad()
def test_no_language_can_reach_the_encoder(checkpoints: dict[str, Path], folder: Path) -> None:
    """Neither by what it is called with, nor by a setting, nor by what the model knows of its languages: with every other token's
    embedding changed, all layers stay the same to the bit."""
    assert list(inspect.signature(OwsmCtc.forward).parameters) == ["self", "wave_BT", "lengths_B"]
    settings = {"checkpoint", "revision", "pad_to_30s", "dropout_while_frozen"}
    assert set(inspect.signature(OwsmCtc).parameters) == settings
    saved = weights(CTC)
    others = [place for place, token in enumerate(TOKENS) if token not in ("<nolang>", "<asr>", "<na>")]
    saved["embed.weight"][others] += 5.0
    torch.save(saved, folder / FILE)
    expected, found = (layers(OwsmCtc(checkpoint=str(one))) for one in (checkpoints["owsm_ctc"], folder))
    assert torch.equal(found, expected)
    saved["embed.weight"][TOKENS.index("<nolang>")] += 5.0
    torch.save(saved, folder / FILE)
    assert not torch.allclose(layers(OwsmCtc(checkpoint=str(folder))), expected, atol=1e-2)


@torch.no_grad()
def test_attention_to_an_empty_prompt_is_a_bias(checkpoints: dict[str, Path]) -> None:
    """With one token to attend to, every frame of a block gets the same: value and output layer of the encoded prompt. Here it is
    attended to in full, behind each block that does."""
    upstream, saved = OwsmCtc(checkpoint=str(checkpoints["owsm_ctc"])), weights(CTC)
    memory_11D = torch.randn(1, 1, 32, generator=torch.Generator().manual_seed(3))
    attention = Attention(32, num_heads=4, dropout=0.0)
    names = {"query": "q", "key": "k", "value": "v", "out": "out"}
    for ours, theirs in names.items():
        for kind in ("weight", "bias"):
            getattr(getattr(attention, ours), kind).copy_(
                saved[f"encoder.encoders.1.cross_attn.linear_{theirs}.{kind}"]
            )
    attended = attention(torch.randn(1, 7, 32), memory_11D, torch.ones(1, 1, 1, 1, dtype=torch.bool))
    value = memory_11D[0] @ attention.value.weight.T + attention.value.bias
    torch.testing.assert_close(attended[0], (value @ attention.out.weight.T + attention.out.bias).expand(7, 32))
    for number, block in enumerate(upstream.model.blocks):
        plain = torch.equal(block.ffn[3].bias, saved[f"encoder.encoders.{number}.feed_forward.w_2.bias"])
        assert plain is (number not in (1, 3))
    # 2 * out(value(m)) of one and the same prompt m in both blocks: that of block 1, solved for m, gives that of block 3
    added = {number: added_to_bias(upstream, saved, number) for number in (1, 3)}
    out, value = (linear(saved, 1, name) for name in ("out", "v"))
    values_D = torch.linalg.solve(out[0], added[1] / 2 - out[1])
    memory_D = torch.linalg.solve(value[0], values_D - value[1])
    out, value = (linear(saved, 3, name) for name in ("out", "v"))
    expected_D = 2 * (out[0] @ (value[0] @ memory_D + value[1]) + out[1])
    torch.testing.assert_close(added[3], expected_D, atol=1e-4, rtol=1e-4)


def added_to_bias(upstream: OwsmCtc, saved: dict[str, torch.Tensor], number: int) -> torch.Tensor:
    before = saved[f"encoder.encoders.{number}.feed_forward.w_2.bias"]
    return (upstream.model.blocks[number].ffn[3].bias.detach() - before).double()


def linear(saved: dict[str, torch.Tensor], number: int, name: str) -> tuple[torch.Tensor, torch.Tensor]:
    place = f"encoder.encoders.{number}.cross_attn.linear_{name}"
    return saved[f"{place}.weight"].double(), saved[f"{place}.bias"].double()


@torch.no_grad()
def test_posteriors_go_back_into_the_encoder(checkpoints: dict[str, Path]) -> None:
    upstream = OwsmCtc(checkpoint=str(checkpoints["owsm_ctc"])).eval()
    expected, conditioning = layers(upstream), upstream.model.conditioning
    conditioning.posteriors.bias[4] += 50.0  # all for one token, of which `back` has one column
    changed = layers(upstream)
    assert torch.equal(changed[:2], expected[:2])  # the input and the block behind which it happens first
    assert not torch.allclose(changed[2], expected[2], atol=1e-2)
    upstream.model.conditioning = None
    assert not torch.allclose(layers(upstream)[2:], expected[2:], atol=1e-2)


@torch.no_grad()
def test_blocks_above_are_cut_off_with_their_conditioning(checkpoints: dict[str, Path]) -> None:
    upstream = OwsmCtc(checkpoint=str(checkpoints["owsm_ctc"]))
    expected = layers(upstream)
    upstream.cut_above(2)
    assert upstream.num_layers == 4
    assert torch.equal(layers(upstream)[:3], expected[:3])


def _without(found: dict[str, Any], part: str) -> dict[str, Any]:
    return {name: value for name, value in found.items() if part not in name}


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (
            "encoders.3.cross_attn.linear_v",
            r"does not fit its config\.yaml \('encoder\.encoders\.3\.cross_attn\.linear_v",
        ),
        ("prompt_encoder.after_norm", "prompt_encoder.after_norm"),
        ("embed.weight", "embed.weight"),
        ("conditioning_layer", r"2 missing \(encoder\.conditioning_layer\.bias"),
        ("ctc_lo.weight", r"1 missing \(ctc\.ctc_lo\.weight\)"),
    ],
)
def test_weights_that_lack_a_part_are_refused(part: str, message: str, folder: Path) -> None:
    torch.save(_without(weights(CTC), part), folder / FILE)
    with pytest.raises(ValueError, match=message):
        OwsmCtc(checkpoint=str(folder))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder": "e_branchformer"}, r"encoder='e_branchformer' .*OWSM has upstream=owsm"),
        ({"promptencoder": "conformer"}, "promptencoder='conformer'"),
        ({"promptencoder_conf": {"input_layer": "linear", "hats": 3}}, r"promptencoder_conf\.hats=3 \(unknown here\)"),
        (
            {"encoder_conf": {**CTC["encoder_conf"], "interctc_use_conditioning": False}},
            r"interctc_use_conditioning=False \(supported: True\)",
        ),
    ],
)
def test_other_models_are_refused(change: dict[str, Any], message: str, folder: Path) -> None:
    import yaml

    text = yaml.safe_dump({**CTC, **change})
    (folder / "exp" / "s2t_train" / "config.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        OwsmCtc(checkpoint=str(folder))
    assert len(OwsmCtc.problems(checkpoint=str(folder))) == 1


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ([0, 1, 0, 0], r"cross_attn of the blocks \[3\], for which config.yaml names no cross-attention"),
        ([1, 1, 0, 1], r"encoder\.encoders\.0\.cross_attn"),
        ([0, 1], r"use_cross_attention=\[0, 1\] of 4 blocks"),
    ],
)
def test_the_configuration_says_which_blocks_attend(said: list[int], message: str, tmp_path: Path) -> None:
    config = {**CTC, "encoder_conf": {**CTC["encoder_conf"], "use_cross_attention": said}}
    folder = write_owsm(tmp_path / "ctc", config=config, like=CTC)
    with pytest.raises(ValueError, match=message):
        OwsmCtc(checkpoint=str(folder))


def test_a_list_without_the_tokens_is_refused(tmp_path: Path) -> None:
    folder = write_owsm(
        tmp_path / "ctc", config={**CTC, "token_list": [token for token in TOKENS if token != "<nolang>"]}
    )
    with pytest.raises(ValueError, match=r"list of tokens cannot be used .*<nolang>, <asr> and <na> must be in it"):
        OwsmCtc(checkpoint=str(folder))


def test_owsm_and_owsm_ctc_tell_each_other(checkpoints: dict[str, Path]) -> None:
    assert "upstream=owsm_ctc_v4" in Owsm.problems(checkpoint=str(checkpoints["owsm_ctc"]))[0]
    assert "OWSM has upstream=owsm" in OwsmCtc.problems(checkpoint=str(checkpoints["owsm"]))[0]


@pytest.mark.parametrize(("name", "mels"), [("owsm_ctc_v4", 128), ("owsm_ctc_v3_1", 80)])
def test_published_sizes(name: str, mels: int) -> None:
    """With prompt encoder, embedding and the attention to the prompt, these are 1.01 B each."""
    sizes = {"output_size": 1024, "attention_heads": 16, "cgmlp_linear_units": 4096, "linear_units": 4096}
    sizes |= {"cgmlp_conv_kernel": 31, "merge_conv_kernel": 31, "num_blocks": 27, "interctc_layer_idx": [6, 12, 15, 21]}
    settings = read_settings({**CTC, "encoder_conf": {**CTC["encoder_conf"], **sizes}}, kind=OWSM_CTC)
    assert settings.problem is None
    with torch.device("meta"):
        encoder = OwsmEncoder(input_size=mels, prefix_size=2, vocab_size=50_002, **settings.encoder)
    fbank = Fbank(**{**settings.fbank, "num_mels": mels})
    upstream = OwsmStack(encoder, fbank=fbank, mean_K=torch.zeros(mels), std_K=torch.ones(mels))
    card = compose([f"upstream={name}"])["upstream"]["card"]
    told = (card["layers"], card["size"], card["frame_rate_hz"])
    assert (upstream.num_layers, upstream.layer_size, upstream.frame_rate_hz) == told
    count = sum(parameter.numel() for parameter in upstream.parameters())
    assert count / 1e6 == pytest.approx(card["params_m"], abs=0.05)
    cross, embedding, projections = 9 * (4 * (1024 * 1024 + 1024) + 2048), 50_002 * 512, 2 * (512 * 1024 + 1024)
    prompt_encoder = 4 * (4 * (512 * 512 + 512) + 2 * 512 * 2048 + 2048 + 512 + 2 * 1024) + 1024
    whole = count - 2 * 1024 + cross + embedding + projections + prompt_encoder
    assert whole / 1e9 == pytest.approx(1.01, abs=0.006)
    assert CONFIG["encoder"] == "e_branchformer"
