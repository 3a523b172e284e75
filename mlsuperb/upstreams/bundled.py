"""Models that come with the package."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlsuperb.upstreams.base import Regularisation
from mlsuperb.upstreams.huggingface import HuggingFace


def models_folder() -> Path:
    """The folder with the models: inside an installed package, else beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    return next((one for one in (package / "models", package.parent / "models") if one.is_dir()), package / "models")


class Bundled(HuggingFace):
    """A small model whose weights lie in `models/`.

    Args:
        model: its name there.
        dropout_while_frozen: see `Upstream`.
        regularisation: see `SelfSupervised`.
    """

    def __init__(
        self, *, model: str, dropout_while_frozen: bool = False, regularisation: Regularisation = "off"
    ) -> None:
        super().__init__(
            checkpoint=str(models_folder() / model),
            dropout_while_frozen=dropout_while_frozen,
            regularisation=regularisation,
        )

    @classmethod
    def problems(cls, *, model: str, **_others: object) -> list[str]:  # type: ignore[override]
        """Whether it is there."""
        if (models_folder() / model / "config.json").is_file():
            return []
        known = sorted(path.parent.name for path in models_folder().glob("*/config.json"))
        return [f"upstream.model={model}: no such model comes with mlsuperb; there are {', '.join(known) or 'none'}"]

    @classmethod
    def depth(cls, settings: Mapping[str, Any]) -> int | None:
        return super().depth({"checkpoint": str(models_folder() / settings["model"]), "revision": "main"})
