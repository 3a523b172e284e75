"""A codebook: what turns frames of features into discrete units. Letters: F frames, D feature size, P projected size, K units."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mlsuperb.runtime.files import disk_errors_named, replaced

CODEBOOK_FILE = "codebook.safetensors"
MAX_UNITS = 2**16  # labels are uint16
_PIECE = 2**16  # frames that are compared with all centroids at a time


@dataclass(frozen=True, kw_only=True)
class Codebook:
    """Centroids, and what has to be known to use them again.

    Args:
        centroids_KP: fp32; the label of a frame is the number of the nearest one (Euclidean).
        projection_DP: frames are multiplied by it first (OPQ's rotation); None: they are compared as they are.
        rate_hz: frames per second of the features.
        record: where it comes from: the features (upstream, layer), the clustering and its sample.
    """

    centroids_KP: Tensor
    projection_DP: Tensor | None = None
    rate_hz: float
    record: Mapping[str, Any] = field(default_factory=dict)

    @property
    def num_units(self) -> int:
        """K."""
        return self.centroids_KP.shape[0]

    @property
    def feature_size(self) -> int:
        """D."""
        return (self.centroids_KP if self.projection_DP is None else self.projection_DP.T).shape[1]

    @property
    def sha256(self) -> str:
        """Over what decides a label: centroids, projection and rate."""
        digest = hashlib.sha256(f"{self.rate_hz:g}".encode())
        for tensor in (self.centroids_KP, self.projection_DP):
            if tensor is not None:
                digest.update(f"{tuple(tensor.shape)}".encode())
                digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def to(self, device: torch.device | str) -> Codebook:
        """The same on another device."""
        projection = self.projection_DP if self.projection_DP is None else self.projection_DP.to(device)
        return Codebook(
            centroids_KP=self.centroids_KP.to(device),
            projection_DP=projection,
            rate_hz=self.rate_hz,
            record=self.record,
        )

    def assign(self, features_FD: Tensor) -> Tensor:
        """The label (F,) int64 of each frame, by exact search: one product of matrices.

        Raises:
            ValueError: the features have another size than those that the codebook was made of.
        """
        if features_FD.shape[-1] != self.feature_size:
            raise ValueError(
                f"the codebook was made of features of size {self.feature_size} ({self.described()}), and these have "
                f"{features_FD.shape[-1]}. Use the upstream and layer that it was made of, or fit another codebook"
            )
        half_norms_K = self.centroids_KP.square().sum(1) / 2
        labels = []
        for piece_FD in features_FD.float().split(_PIECE):
            projected_FP = piece_FD if self.projection_DP is None else piece_FD @ self.projection_DP
            labels.append(torch.addmm(half_norms_K, projected_FP, self.centroids_KP.T, alpha=-1).argmin(1))
        return torch.cat(labels) if labels else torch.zeros(0, dtype=torch.int64, device=features_FD.device)

    def described(self) -> str:
        """For people: what it was made of."""
        features = self.record.get("features", {})
        layer = f", layer {features['layer']}" if "layer" in features else ""
        return f"{features.get('name', 'features')}{layer}, {self.rate_hz:g} Hz, {self.num_units} units"

    def save(self, folder: Path) -> None:
        """Write `codebook.safetensors` into the folder; the record stands in its header.

        Raises:
            OSError: the disk is full.
        """
        tensors = {"centroids": self.centroids_KP, "projection": self.projection_DP}
        given = {name: one.detach().float().cpu().contiguous() for name, one in tensors.items() if one is not None}
        about = {"rate_hz": self.rate_hz, "sha256": self.sha256, "record": dict(self.record)}
        with disk_errors_named(folder / CODEBOOK_FILE), replaced(folder / CODEBOOK_FILE) as temporary:
            save_file(given, temporary, metadata={"mlsuperb": json.dumps(about, ensure_ascii=False, sort_keys=True)})

    @classmethod
    def load(cls, folder: Path) -> Codebook:
        """Read what `save` wrote.

        Raises:
            ValueError: there is none, or the file is damaged.
        """
        path = folder / CODEBOOK_FILE
        if not path.is_file():
            raise ValueError(f"{folder} holds no codebook ({CODEBOOK_FILE}). Give the folder of a run of job=labels")
        try:
            with safe_open(path, "pt") as file:
                about = json.loads((file.metadata() or {})["mlsuperb"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        except (SafetensorError, KeyError, ValueError) as error:
            raise ValueError(
                f"{path} cannot be read as a codebook ({error}); restore a copy, or fit it anew"
            ) from error
        book = cls(
            centroids_KP=tensors["centroids"], projection_DP=tensors.get("projection"), rate_hz=about["rate_hz"],
            record=about["record"],
        )  # fmt: skip
        if book.sha256 != about["sha256"]:
            raise ValueError(
                f"{path} is damaged: its centroids are not those it was written with. Fit the codebook anew"
            )
        return book
