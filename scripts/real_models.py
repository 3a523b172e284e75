"""Configurations of published models, so that random (or weightless) models of their real sizes can be made without a hub."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

CONVOLUTIONS = {
    "conv_dim": [512] * 7, "conv_kernel": [10, 3, 3, 3, 3, 2, 2], "conv_stride": [5, 2, 2, 2, 2, 2, 2],
    "num_conv_pos_embeddings": 128, "num_conv_pos_embedding_groups": 16,
}  # fmt: skip
LARGE = {**CONVOLUTIONS, "conv_bias": True, "feat_extract_norm": "layer", "do_stable_layer_norm": True}


def _sizes(blocks: int, size: int, ffn: int, heads: int) -> dict[str, int]:
    return {"num_hidden_layers": blocks, "hidden_size": size, "intermediate_size": ffn, "num_attention_heads": heads}


# name of conf/upstream -> family in transformers, settings of its config.json
REAL: dict[str, tuple[str, dict[str, Any]]] = {
    # facebook/hubert-base-ls960; arXiv 2106.07447, table 1 (Base), wav2vec 2.0's convolutions
    "hubert_base": (
        "Hubert",
        {**CONVOLUTIONS, **_sizes(12, 768, 3072, 12), "conv_bias": False, "feat_extract_norm": "group"},
    ),
    # facebook/wav2vec2-xls-r-300m; arXiv 2111.09296, table 2 (0.3B)
    "xls_r_300m": ("Wav2Vec2", {**LARGE, **_sizes(24, 1024, 4096, 16)}),
    # facebook/mms-1b; arXiv 2305.13516, section 4 (as XLS-R 1B, arXiv 2111.09296, table 2)
    "mms_1b": ("Wav2Vec2", {**LARGE, **_sizes(48, 1280, 5120, 16)}),
}

# SeamlessM4T: family in transformers, settings of its config.json (`convert_fairseq2_to_hf.py` of each family)
SEAMLESS: dict[str, tuple[str, dict[str, Any]]] = {
    "medium": (
        "SeamlessM4T",
        {
            "vocab_size": 256206, "hidden_size": 1024, "max_position_embeddings": 4096, "encoder_layers": 12,
            "decoder_layers": 12, "encoder_ffn_dim": 4096, "decoder_ffn_dim": 4096, "speech_encoder_layers": 12,
        },
    ),  # facebook/hf-seamless-m4t-medium
    "large_v2": ("SeamlessM4Tv2", {}),  # facebook/seamless-m4t-v2-large: the defaults of the configuration
}  # fmt: skip


def make_model(name: str, *, kind: str = "Model", blocks: int | None = None, **settings: Any) -> Any:
    """A model with random weights (with none under `torch.device("meta")`), cut to `blocks` Transformer blocks if given.
    `kind`: of transformers' classes of the family; `settings` come on top of the published ones."""
    import transformers

    family, published = REAL[name]
    cut = {} if blocks is None else {"num_hidden_layers": blocks}
    config = getattr(transformers, f"{family}Config")(**published | cut | settings)
    return getattr(transformers, f"{family}{kind}")(config)


def normalised(name: str) -> bool:
    """Whether it takes normalised waves: where the convolutions have layer norm, as fairseq trained them."""
    return REAL[name][1]["feat_extract_norm"] == "layer"


def make_upstream(name: str, *, device: str = "cpu") -> Any:
    """The upstream that conf/upstream/`name` names, with random weights, or with none on the device `meta`."""
    import torch

    from mlsuperb.upstreams.owsm import OwsmStack
    from mlsuperb.upstreams.selfsupervised import SelfSupervised
    from mlsuperb.upstreams.whisper import WhisperStack

    special = {"whisper_medium": _whisper_medium, "owsm_v3_1_medium": _owsm_medium}
    with torch.device(device):
        model = special[name]() if name in special else make_model(name)
    if name == "whisper_medium":
        return WhisperStack(model)
    if name == "owsm_v3_1_medium":
        return OwsmStack(model, fbank=_owsm_fbank(), mean_K=torch.zeros(80), std_K=torch.ones(80))
    return SelfSupervised(model, normalise=normalised(name))


def make_seamless(size: str, *, parts: Collection[str] = ("speech",), device: str = "cpu") -> Any:
    """A SeamlessM4T of the published size with random weights (with none on `meta`), without tokenizer; English is its only
    language. `parts`: `speech`, `text`, or both."""
    import torch
    import transformers

    from mlsuperb.translation.seamless import SeamlessTranslator

    family, published = SEAMLESS[size]
    config = getattr(transformers, f"{family}Config")(**published)
    with torch.device(device):
        models = [
            getattr(transformers, f"{family}For{whole}ToText")(config) if part in parts else None
            for part, whole in (("speech", "Speech"), ("text", "Text"))
        ]
        return SeamlessTranslator(*models, tokenizer=None, codes={"eng": config.vocab_size - 200})


def _whisper_medium() -> Any:
    """openai/whisper-medium; arXiv 2212.04356, table 1."""
    from transformers import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    config = WhisperConfig(d_model=1024, encoder_layers=24, encoder_attention_heads=16, encoder_ffn_dim=4096)
    return WhisperEncoder(config)


def _owsm_medium() -> Any:
    """espnet/owsm_v3.1_ebf; egs2/owsm_v3.1/s2t1, as far as the encoder goes."""
    from mlsuperb.upstreams.owsm import OwsmEncoder

    return OwsmEncoder(
        input_size=80, size=1024, num_blocks=18, num_heads=16, ffn_size=4096, cgmlp_size=4096, cgmlp_kernel=31,
        merge_kernel=31, dropout=0.1, position_dropout=0.1, attention_dropout=0.1,
    )  # fmt: skip


def _owsm_fbank() -> Any:
    from mlsuperb.upstreams.fbank import Fbank

    return Fbank(n_fft=512, win_length=400, hop_length=160)


def save_model(name: str, folder: Path) -> None:
    """Save a random model as it would lie on the hub."""
    import torch
    import transformers

    torch.manual_seed(0)
    make_model(name).save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=normalised(name)).save_pretrained(folder)
