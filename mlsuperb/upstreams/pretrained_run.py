"""The model that a run of job=pretrain has made."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlsuperb.upstreams.base import Regularisation
from mlsuperb.upstreams.conventions import Conventions
from mlsuperb.upstreams.huggingface import RUN_FOLDER, HuggingFace, adapter_problems


class PretrainedRun(HuggingFace):
    """HuBERT as one of our own runs has trained it. The run counts in identities by the name of its folder.

    Args:
        run: folder of a finished run of job=pretrain.
        dropout_while_frozen: see `Upstream`.
        regularisation: see `SelfSupervised`.
        adapter, conventions: see `HuggingFace`.
    """

    def __init__(
        self,
        *,
        run: str,
        dropout_while_frozen: bool = False,
        regularisation: Regularisation = "off",
        adapter: str | None = None,
        conventions: Conventions = "checkpoint",
    ) -> None:
        super().__init__(
            checkpoint=str(Path(run) / RUN_FOLDER),
            dropout_while_frozen=dropout_while_frozen,
            regularisation=regularisation,
            adapter=adapter,
            conventions=conventions,
        )

    @classmethod
    def problems(cls, *, run: str, adapter: str | None = None, **_others: object) -> list[str]:  # type: ignore[override]
        """Whether the run has finished, and there is the adapter."""
        if (Path(run) / RUN_FOLDER / "config.json").is_file():
            return adapter_problems(adapter)
        return [
            f"upstream.run={run} is not the folder of a finished run of job=pretrain: it has no {RUN_FOLDER}/config.json. Give "
            "the folder that it printed"
        ]

    @classmethod
    def depth(cls, settings: Mapping[str, Any]) -> int | None:
        return super().depth({"checkpoint": str(Path(settings["run"]) / RUN_FOLDER), "revision": "main"})
