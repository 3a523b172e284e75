"""Every file of conf/upstream states its facts and where they come from."""

from __future__ import annotations

from typing import Any

import pytest

from mlsuperb.config.compose import compose
from mlsuperb.config.options import conf_dir, options

UPSTREAMS = {name: compose([f"upstream={name}"])["upstream"] for name in options("upstream", [conf_dir()])}

KEYS = [
    "score_reproduced",
    "checked_on",
    "params_m",
    "layers",
    "size",
    "frame_rate_hz",
    "licence",
    "pretrained_on",
    "source",
]


def has_weights(node: dict[str, Any]) -> bool:
    return node.get("checkpoint", "???") != "???" or "model" in node


def test_number_of_upstreams() -> None:
    assert len(UPSTREAMS) >= 40
    assert sum(map(has_weights, UPSTREAMS.values())) >= 33


@pytest.mark.parametrize("name", UPSTREAMS)
def test_card(name: str) -> None:
    card = UPSTREAMS[name]["card"]
    # True only once a published number has been reproduced with these weights; then name the result here.
    assert card["score_reproduced"] is False
    if "???" in (UPSTREAMS[name].get("checkpoint"), UPSTREAMS[name].get("run")):  # any of a kind
        assert set(card) == {"score_reproduced", "pretrained_on", "source"}
        assert card["pretrained_on"] is None
    else:
        assert list(card) == KEYS
        assert card["checked_on"] in ("real", "shapes", "tiny")
        assert card["licence"] is not None if has_weights(UPSTREAMS[name]) else card["licence"] is None
        assert card["source"]
        assert isinstance(card["pretrained_on"], list)
        assert bool(card["pretrained_on"]) is has_weights(UPSTREAMS[name])


def test_every_checkpoint_is_a_hub_id_and_used_once() -> None:
    nodes = [node for node in UPSTREAMS.values() if has_weights(node) and "model" not in node]
    checkpoints = {node["checkpoint"] for node in nodes}
    assert len(checkpoints) == len(nodes)
    assert all(checkpoint.count("/") == 1 for checkpoint in checkpoints)
    assert {node["revision"] for node in nodes} == {"main"}
