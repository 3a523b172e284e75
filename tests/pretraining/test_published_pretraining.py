"""The experiments are what mHuBERT-147's scripts say (`mhubert147_base.yaml` of utter-project/fairseq, preprocessing)."""

from __future__ import annotations

from typing import Any

import pytest

from mlsuperb.config.build import instantiate
from mlsuperb.config.compose import compose

TRAINING: dict[str, Any] = {
    "upstream.num_blocks": 12,
    "upstream.hidden_size": 768,
    "upstream.conv_norm": "group",
    "upstream.normalise": True,
    "upstream.dropout": 0.1,
    "upstream.attention_dropout": 0.1,
    "upstream.activation_dropout": 0.0,
    "masking.probability": 0.8,
    "masking.length": 10,
    "prediction.final_size": 256,
    "prediction.temperature": 0.1,
    "prediction.num_special": 4,
    "prediction.unmasked_weight": 0.0,
    "prediction.feature_penalty": 10.0,
    "prediction.feature_grad_mult": 0.1,
    "prediction.layer_drop": 0.05,
    "loading.crops.max_s": 250_000 / 16_000,
    "loading.train.max_batch_s": 32 * 2_800_000 / 16_000,
    "loading.sampling.alpha": 0.7,
    "loading.sampling.beta": 0.9,
    "loading.sampling.by": "utterances",
    "trainer.optimizer.lr": 5e-4,
    "trainer.optimizer.betas": [0.9, 0.98],
    "trainer.optimizer.eps": 1e-6,
    "trainer.optimizer.weight_decay": 0.01,
    "trainer.grad_clip": 10.0,
    "trainer.keep": "last",
}
LABELS: dict[str, Any] = {
    "upstream.name": "kaldi_mfcc",
    "clustering.num_units": 1000,
    "clustering.search": "hnsw",
    "labelling.sampling.by": "hours",
    "labelling.sample_gb": 850,
    "data.preparation.min_s": 2.0,
    "data.preparation.max_s": 30.0,
    "data.preparation.num_valid": 5,
}


def value(config: dict[str, Any], path: str) -> Any:
    for key in path.split("."):
        config = config[key]
    return config


@pytest.mark.parametrize(("name", "facts"), [("mhubert_147", TRAINING), ("mhubert_147_labels", LABELS)])
def test_settings_are_the_published_ones(name: str, facts: dict[str, Any]) -> None:
    config = compose([f"+exp=pretrain/{name}"])
    assert {path: value(config, path) for path in facts} == facts


def test_two_million_updates_with_32_000_of_warm_up() -> None:
    trainer = instantiate(compose(["+exp=pretrain/mhubert_147"])["trainer"])
    assert trainer.num_iterations == 2_000_000
    factors = [trainer.schedule(update, 2_000_000) for update in (0, 16_000, 32_000, 1_016_000, 2_000_000)]
    assert factors == pytest.approx([0, 0.5, 1, 0.5, 0])


def test_sizes_of_base_and_large() -> None:
    """94.4 M is what transformers counts for HuBERT base; the head has a table of 1,004 labels (arithmetic)."""
    import torch

    with torch.device("meta"):
        for name, prediction, millions in (("hubert_new", "hubert", 94.4), ("hubert_new_large", "hubert_large", 315.4)):
            config = compose(["job=pretrain", f"upstream={name}", f"prediction={prediction}", "targets.run=x"])
            upstream = instantiate(config["upstream"])
            assert sum(one.numel() for one in upstream.parameters()) / 1e6 == pytest.approx(millions, abs=0.1)
    head = instantiate(compose(["job=pretrain", "targets.run=x"])["prediction"]).head(size=768, num_units=1000)
    assert sum(one.numel() for one in head.parameters()) == 768 * 256 + 256 + 1004 * 256
