"""A codebook: what turns frames of features into discrete units. Letters: F frames, D feature size, P projected size, K units."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mlsuperb.runtime.files import disk_errors_named, replaced
from mlsuperb.units.faiss_parts import hnsw_graph

CODEBOOK_FILE = "codebook.safetensors"
MAX_UNITS = 2**16  # labels are uint16
_GROUP = 64  # centroids among which the nearest is found in the second step of the search
# Frames that are compared with all centroids at a time. On a CPU, their scores stay in its caches (768 x 1000 are 3 MB; measured
# by scripts/bench/clustering.py, 512 to 1024 are much the same); on a GPU, they keep it busy.
_PIECE, _PIECE_OF_GPU = 768, 2**16


@dataclass(frozen=True, kw_only=True)
class Codebook:
    """Centroids, and what has to be known to use them again.

    Args:
        centroids_KP: fp32; the label of a frame is the number of the nearest one (Euclidean).
        projection_DP: frames are multiplied by it first (OPQ's rotation); None: they are compared as they are.
        rate_hz: frames per second of the features.
        record: where it comes from: the features (upstream, layer), the clustering and its sample.
        search: `hnsw` looks for the nearest centroid in a graph, as mHuBERT-147's labels were made, and misses it for some
            frames in a hundred (needs faiss, on the CPU).
    """

    centroids_KP: Tensor
    projection_DP: Tensor | None = None
    rate_hz: float
    record: Mapping[str, Any] = field(default_factory=dict)
    search: Literal["exact", "hnsw"] = "exact"

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
        """Over what decides a label: centroids, projection, rate and search."""
        digest = hashlib.sha256(f"{self.rate_hz:g}{'' if self.search == 'exact' else self.search}".encode())
        for tensor in (self.centroids_KP, self.projection_DP):
            if tensor is not None:
                digest.update(f"{tuple(tensor.shape)}".encode())
                digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def to(self, device: torch.device | str) -> Codebook:
        """The same on another device."""
        projection = self.projection_DP if self.projection_DP is None else self.projection_DP.to(device)
        return replace(self, centroids_KP=self.centroids_KP.to(device), projection_DP=projection)

    @torch.no_grad()
    def assign(self, features_FD: Tensor) -> Tensor:
        """The label (F,) int64 of each frame, in fp32 whatever the precision around.

        Raises:
            ValueError: the features have another size than those that the codebook was made of, or hold NaN.
        """
        if features_FD.shape[-1] != self.feature_size:
            raise ValueError(
                f"the codebook was made of features of size {self.feature_size} ({self.described()}), and these have "
                f"{features_FD.shape[-1]}. Use the upstream and layer that it was made of, or fit another codebook"
            )
        find = self._nearest if self.search == "exact" else self._nearest_in_graph
        found = [(features_FD.new_zeros(0), features_FD.new_zeros(0, dtype=torch.int64))]
        with torch.autocast(features_FD.device.type, enabled=False):
            for piece_FD in features_FD.split(_PIECE if features_FD.device.type == "cpu" else _PIECE_OF_GPU):
                frames_FD = piece_FD.float()
                found.append(find(frames_FD if self.projection_DP is None else frames_FD @ self.projection_DP))
        scores_F, labels_F = map(torch.cat, zip(*found, strict=True))
        if not scores_F.isfinite().all():
            raise ValueError(
                f"{int((~scores_F.isfinite()).sum())} of {len(scores_F)} frames hold NaN or infinity, so they have no unit. The "
                "upstream gave them: compute it in fp32 or bf16 (fp16 overflows), and look for damaged audio"
            )
        return labels_F

    @cached_property
    def _scorer(self) -> tuple[Tensor, Tensor]:
        """Half the squared norms (K,) and minus the centroids (P, K), with units added that are never the nearest, up to a
        multiple of `_GROUP`."""
        added = -self.num_units % _GROUP
        half_norms_K = torch.nn.functional.pad(self.centroids_KP.square().sum(1) / 2, (0, added), value=torch.inf)
        return half_norms_K, torch.nn.functional.pad(-self.centroids_KP, (0, 0, 0, added)).T.contiguous()

    def _nearest(self, projected_FP: Tensor) -> tuple[Tensor, Tensor]:
        """Score and number of the nearest centroid of each frame. The score is half the squared distance less half the squared
        norm of the frame.

        The least score is looked for among the least ones of G groups of centroids and then in that group: torch's `amin`
        is six times as fast as its `argmin`.
        """
        half_norms_K, minus_PK = self._scorer
        num_groups = len(half_norms_K) // _GROUP
        # those of frame 0, those of frame 1, ...
        groups = torch.addmm(half_norms_K, projected_FP, minus_PK).view(-1, _GROUP)
        least_F, group_F = groups.amin(1).view(-1, num_groups).min(1)
        firsts_F = torch.arange(0, len(groups), num_groups, device=groups.device)
        return least_F, group_F * _GROUP + groups.index_select(0, firsts_F + group_F).argmin(1)

    @cached_property
    def _graph(self) -> Any:
        """faiss' index over the centroids."""
        return hnsw_graph(self.centroids_KP.cpu().numpy())

    def _nearest_in_graph(self, projected_FP: Tensor) -> tuple[Tensor, Tensor]:
        """Squared distance and number of the centroid that faiss finds for each frame."""
        found = self._graph.search(projected_FP.cpu().numpy(), 1)
        distances_F, labels_F = (torch.from_numpy(one[:, 0]).to(projected_FP.device) for one in found)
        return distances_F.masked_fill(labels_F < 0, torch.inf), labels_F  # -1: the frame is NaN

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
        about = {"rate_hz": self.rate_hz, "sha256": self.sha256, "search": self.search, "record": dict(self.record)}
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
            record=about["record"], search=about.get("search", "exact"),
        )  # fmt: skip
        if book.sha256 != about["sha256"]:
            raise ValueError(
                f"{path} is damaged: its centroids are not those it was written with. Fit the codebook anew"
            )
        return book
