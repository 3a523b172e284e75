"""A self-supervised model as s3prl runs it, for heads that were trained on s3prl's features."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from mlsuperb.upstreams.huggingface import HuggingFace

S3prlKind = Literal["own", "transformers"]


class S3prl(HuggingFace):
    """`HuggingFace` under s3prl's conventions.

    Args:
        checkpoint, revision, dropout_while_frozen: see `HuggingFace`.
        kind: `own`, a model that s3prl has itself (`hubert_base`, `xls_r_300m`, ...), or `transformers`, one that it takes from
            there (`hf_wav2vec2_custom`, ...): the conventions `s3prl` and `s3prl_hf`.
    """

    def __init__(
        self,
        *,
        checkpoint: str,
        revision: str = "main",
        dropout_while_frozen: bool = False,
        kind: S3prlKind = "own",
    ) -> None:
        super().__init__(
            checkpoint=checkpoint,
            revision=revision,
            dropout_while_frozen=dropout_while_frozen,
            conventions="s3prl" if kind == "own" else "s3prl_hf",
        )

    def record(self) -> dict[str, object]:
        """As `HuggingFace`, but of a folder only its name: its files are known by their hashes, wherever it lies. The
        conventions are the class's."""
        found = super().record()
        name = Path(str(found["checkpoint"])).name if found["sha256"] else found["checkpoint"]
        return {key: value for key, value in found.items() if key != "conventions"} | {"checkpoint": name}
