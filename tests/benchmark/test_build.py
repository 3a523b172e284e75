"""What is built from a configuration."""

from __future__ import annotations

import pytest
import torch

from mlsuperb.benchmark import build
from mlsuperb.config.compose import compose


@pytest.mark.parametrize("adaptation", ["lora", "houlsby", "pfeiffer"])
def test_an_adaptation_leaves_the_start_of_the_others_alone(adaptation: str) -> None:
    """Else a comparison of adaptations under one seed would compare heads."""
    heads = []
    for name in ("frozen", adaptation):
        torch.manual_seed(0)
        model = build.build_model(compose(["upstream=tiny", f"adaptation={name}"]), vocab_size=10)
        heads.append({**model.head.state_dict(), **model.objective.state_dict(), **model.featurizer.state_dict()})
    assert len(heads[0]) > 20
    assert all(torch.equal(heads[0][name], heads[1][name]) for name in heads[0])
