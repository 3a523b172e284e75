"""Models that come with the package."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlsuperb.upstreams.base import Regularisation
from mlsuperb.upstreams.conventions import Conventions
from mlsuperb.upstreams.huggingface import HuggingFace


def models_folder() -> Path:
    """The folder with the models: inside an installed package, else beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    return next((one for one in (package / "models", package.parent / "models") if one.is_dir()), package / "models")


def revision_of(folder: Path) -> str:
    """First eight hex digits of the SHA-256 of a model's weights."""
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()[:8]


class Bundled(HuggingFace):
    """A small model whose weights lie in `models/`.

    Args:
        model: its name there.
        revision: of its weights (`revision_of`), so that runs of weights that were replaced since are other runs.
        dropout_while_frozen: see `Upstream`.
        regularisation: see `SelfSupervised`.
        conventions: see `HuggingFace`.
    """

    def __init__(
        self,
        *,
        model: str,
        revision: str,
        dropout_while_frozen: bool = False,
        regularisation: Regularisation = "off",
        conventions: Conventions = "checkpoint",
    ) -> None:
        super().__init__(
            checkpoint=str(models_folder() / model),
            dropout_while_frozen=dropout_while_frozen,
            regularisation=regularisation,
            conventions=conventions,
        )

    @classmethod
    def problems(cls, *, model: str, revision: str, **_others: object) -> list[str]:  # type: ignore[override]
        """Whether it is there, with these weights."""
        folder = models_folder() / model
        if (folder / "config.json").is_file():
            found = revision_of(folder)
            if found == revision:
                return []
            return [f"upstream.revision={revision}, but the weights in {folder} are {found}: install mlsuperb again"]
        known = sorted(path.parent.name for path in models_folder().glob("*/config.json"))
        return [f"upstream.model={model}: no such model comes with mlsuperb; there are {', '.join(known) or 'none'}"]

    @classmethod
    def depth(cls, settings: Mapping[str, Any]) -> int | None:
        return super().depth({"checkpoint": str(models_folder() / settings["model"]), "revision": "main"})
