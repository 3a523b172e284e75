"""Parts that are sound alone and do not go together: frames that a head takes away where CTC needs them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
from tiny_checkpoints import write_checkpoint

from mlsuperb.benchmark.build import build_model
from mlsuperb.benchmark.frames import FEW_FRAMES_HZ
from mlsuperb.benchmark.job import Benchmark
from mlsuperb.benchmark.misfits import misfits, other_model
from mlsuperb.config.compose import compose
from mlsuperb.config.options import conf_dir, options
from mlsuperb.layers.frontends import SHORTENING, FrontendName

CARDS = {name: compose([f"upstream={name}"])["upstream"]["card"] for name in options("upstream", [conf_dir()])}
FEW = [name for name, card in CARDS.items() if (card.get("frame_rate_hz") or 50) <= FEW_FRAMES_HZ]
REMEDY = "Set head.frontend=linear"


def found(*words: str, **card: Any) -> list[str]:
    config = compose(words)
    config["upstream"]["card"] |= card
    return list(misfits(config, Benchmark.groups))


def test_some_upstreams_have_few_frames() -> None:
    assert {"owsm_v4_base", "owsm_v4_small", "owsm_v4_medium", "owsm_ctc_v4"} <= set(FEW)


@pytest.mark.parametrize("name", FEW)
def test_the_usual_head_takes_too_many_of_few_frames(name: str) -> None:
    (problem,) = found(f"upstream={name}")
    rate = CARDS[name]["frame_rate_hz"]
    assert problem.startswith(
        f"upstream={name} gives {rate:g} frames per second, of which head.frontend=conv2d2 leaves"
    )
    assert problem.endswith(REMEDY)
    assert found(f"upstream={name}", "head.frontend=linear") == []


@pytest.mark.parametrize("frontend", get_args(FrontendName))
def test_each_front_end_is_judged_by_what_it_leaves(frontend: str) -> None:
    problems = found("upstream=owsm_v4_base", f"head.frontend={frontend}")
    left = 12.5 / SHORTENING[frontend]
    assert [f"leaves {left:g}: fewer than" in one for one in problems] == [True] * (frontend != "linear")


@pytest.mark.parametrize(
    "words",
    [
        ["head=linear"],  # has no front end
        ["head=bilstm"],  # whose front end keeps frames
        ["task=lid", "objective=classifier", "decoding=argmax", "head.input_norm=none"],
        ["task=lid"],  # one token for an utterance
        ["+exp=v2/owsm"],  # which has head.frontend=linear
    ],
)
def test_what_needs_no_frames_to_spare_passes(words: list[str]) -> None:
    assert not [one for one in found("upstream=owsm_v4_base", *words) if REMEDY in one]


def test_a_decoder_beside_ctc_does_not_help() -> None:
    assert REMEDY in found("upstream=owsm_v4_base", "objective=ctc_attention")[0]


def test_the_card_alone_decides() -> None:
    """Of any upstream, also of one that somebody else's YAML file describes; where it says nothing, nothing is said."""
    assert found("upstream=tiny") == []
    assert REMEDY in found("upstream=tiny", frame_rate_hz=10)[0]
    assert found("upstream=tiny", frame_rate_hz=25) == []
    assert found("upstream=tiny", frame_rate_hz=None) == []
    config = compose(["upstream=tiny"])
    del config["upstream"]["card"]
    assert list(misfits(config, Benchmark.groups)) == []


def test_weights_of_another_shape_do_not_pass_for_a_published_model(tmp_path: Path) -> None:
    """Seen in config.json before anything is loaded, and in the weights themselves."""
    folder = write_checkpoint(tmp_path, "hubert_base")
    words = ["upstream=mms_lid_4017", f"upstream.checkpoint={folder}", "head.frontend=linear"]
    (problem,) = [one for one in found(*words) if "another model" in one]
    assert problem.startswith(
        f"upstream=mms_lid_4017 has 49 layers of 1280, but the weights of upstream.checkpoint={folder}"
    )
    assert not found("upstream=hf", f"upstream.checkpoint={folder}", "head.frontend=linear")
    with pytest.raises(ValueError, match=r"has 49 layers of 1280.* have 5 layers of 32.* such as upstream=hf"):
        build_model(compose(words), vocab_size=9)


def test_another_size_of_as_many_layers_is_another_model() -> None:
    card = {"name": "hubert_base", "checkpoint": "some/folder", "card": {"layers": 13, "size": 768}}
    assert other_model(card, num_layers=13, layer_size=768) is None
    assert other_model(card, num_layers=12, layer_size=768) is None  # without its input layer
    assert "have 13 layers of 512" in str(other_model(card, num_layers=13, layer_size=512))
    assert "have 25 layers:" in str(other_model(card, num_layers=25))
    assert other_model({**card, "card": {}}, num_layers=25) is None
    assert other_model({"name": "tiny", "card": card["card"]}, num_layers=3) is None, "its settings decide"


@pytest.mark.parametrize("adaptation", ["lora", "lora_mixture", "houlsby", "partial_top", "qlora"])
@pytest.mark.parametrize("upstream", ["fbank", "mfcc", "kaldi_mfcc"])
def test_features_without_blocks_are_not_adapted(upstream: str, adaptation: str) -> None:
    (problem,) = found(f"upstream={upstream}", f"adaptation={adaptation}")
    assert "works on Transformer blocks, but this upstream has none" in problem
    assert found(f"upstream={upstream}") == []
