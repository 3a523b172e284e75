"""Trained parameters of the paper's adaptations (arXiv 2410.13445) on the real shape of SeamlessM4T medium."""

from __future__ import annotations

import pytest

from mlsuperb.config.build import instantiate
from mlsuperb.config.compose import compose
from mlsuperb.translation.seamless import SeamlessTranslator
from scripts.real_models import make_seamless


@pytest.fixture
def medium() -> SeamlessTranslator:
    return make_seamless("medium", device="meta")


@pytest.mark.parametrize(
    ("choice", "number"),
    [
        (("encoder_adapters",), 6_306_816),
        (("encoder_adapters", "adaptation.width=2048"), 50_368_512),
        (("decoder_adapters",), 6_306_816),
        (("decoder_adapters", "adaptation.width=2048"), 50_368_512),
        (("length_adaptor",), 46_156_800),
    ],
)
def test_trained_parameters_are_the_published_ones(
    choice: tuple[str, ...], number: int, medium: SeamlessTranslator
) -> None:
    """6 M, 50 M and 46 M: 12 * (2 * 1024 * D2 + D2 + 1024) of adapters, and all of the length adaptor."""
    config = compose(["job=translation", f"adaptation={choice[0]}", *choice[1:]])
    names = instantiate(config["adaptation"]).apply(medium)
    parameters = dict(medium.named_parameters())
    assert sum(parameters[name].numel() for name in names) == number
    assert sum(one.numel() for one in parameters.values() if one.requires_grad) == number


def test_the_whole_is_as_large_as_published(medium: SeamlessTranslator) -> None:
    assert sum(one.numel() for one in medium.parameters()) == pytest.approx(821.4e6, rel=1e-3)


def test_large_v2_is_as_large_as_published() -> None:
    """2.3 B (seamless_communication, docs/m4t/README.md) less text encoder, text-to-unit model and vocoder."""
    large = make_seamless("large_v2", device="meta")
    assert len(large.model.speech_encoder.encoder.layers) == len(large.model.text_decoder.layers) == 24
    assert sum(one.numel() for one in large.parameters()) == pytest.approx(1501.8e6, rel=1e-3)
