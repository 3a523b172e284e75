"""The sizes of `conf/head/*.yaml`, and settings that do not go together."""

from __future__ import annotations

import pytest
import torch
import yaml

from mlsuperb.config.build import instantiate
from mlsuperb.config.check import find_problems
from mlsuperb.config.compose import compose
from mlsuperb.config.options import conf_dir, options
from mlsuperb.heads.conformer import ConformerHead
from mlsuperb.heads.e_branchformer import EBranchformerHead

# ML-SUPERB 2.0's cap on trained parameters; its challenge has about 6,000 characters
CAP, VOCAB_SIZE = 100_000_000, 6000
PARAMETERS = {  # with 1024 features; those of ESPnet's own encoders, see scripts/parity_espnet.py
    "linear": 0,
    "bilstm": 43_025_408,
    "transformer": 4_679_760,
    "transformer_light": 1_920_592,
    "transformer_conv1d": 2_366_720,
    "transformer_deep": 87_805_008,
    "transformer_small": 12_577_360,
    "conformer": 87_934_032,
    "conformer_small": 22_118_992,
    "e_branchformer": 88_831_056,
    "e_branchformer_small": 26_410_576,
}


def test_every_head_stays_under_the_cap() -> None:
    names = options("head", [conf_dir()])
    assert set(names) >= PARAMETERS.keys()
    for name in names:
        settings = yaml.safe_load((conf_dir() / "head" / f"{name}.yaml").read_text(encoding="utf-8"))
        with torch.device("meta"):
            head = instantiate(settings, input_size=1024)
        count = sum(parameter.numel() for parameter in head.parameters())
        assert count == PARAMETERS.get(name, count), name
        assert count + (head.output_size + 1) * VOCAB_SIZE < CAP, name


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        (["head=conformer", "head.conv_kernel=14"], "head.conv_kernel is 14, but must be odd"),
        (["head=conformer", "head.num_heads=7"], "head.size is 512 and head.num_heads 7"),
        (["head=e_branchformer", "head.cgmlp_size=31"], "head.cgmlp_size is 31, but must be even"),
        (["head=e_branchformer", "head.merge_kernel=4"], "head.merge_kernel is 4, but must be odd"),
        (["head=e_branchformer", "head.cgmlp_kernel=4"], "head.cgmlp_kernel is 4, but must be odd"),
        (["head=e_branchformer", "head.positions=round"], "head.positions='round' should be 'absolute' or 'relative'"),
        (["head=transformer", "head.size=15", "head.num_heads=5"], "head.size is 15, but must be even"),
        (["head=transformer_deep", "head.projection=5"], "head.frontend=conv2d2 needs at least 7 features per frame"),
        (["head=bilstm", "head.dropout=1"], "head.dropout=1"),
    ],
)
def test_what_does_not_go_together_is_found_before_anything_is_built(settings: list[str], problem: str) -> None:
    found = find_problems(compose(settings))
    assert any(one.startswith(problem) for one in found), found


def test_a_normalised_linear_probe_leaves_nothing_to_a_classifier() -> None:
    lid = ["head=linear", "task=lid", "objective=classifier", "decoding=argmax"]
    assert find_problems(compose(lid)) == []
    (problem,) = find_problems(compose([*lid, "head.input_norm=mean"]))
    assert problem.endswith("head=linear leave nothing; use head.input_norm=none")
    assert find_problems(compose(["head=linear", "head.input_norm=mean"])) == []
    deviations = ["head=linear", "task=lid", "objective=classifier_ecapa", "decoding=argmax", "head.input_norm=mean"]
    assert find_problems(compose(deviations)) == []


def test_a_head_refuses_in_its_constructor_too() -> None:
    with pytest.raises(ValueError, match=r"head.conv_kernel is 4, but must be odd"):
        ConformerHead(input_size=16, conv_kernel=4)
    with pytest.raises(ValueError, match=r"head.cgmlp_size is 9.* head.merge_kernel is 2"):
        EBranchformerHead(input_size=16, cgmlp_size=9, merge_kernel=2)
