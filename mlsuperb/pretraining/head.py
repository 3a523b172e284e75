"""The prediction head of HuBERT. Letters: N frames, D feature size, P projected size, C classes."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from mlsuperb.runtime.records import json_object
from mlsuperb.units.labels import About
from mlsuperb.upstreams.huggingface import EXPORT_FILE

log = logging.getLogger(__name__)

HEAD_FILE = "prediction_head.safetensors"


class PredictionHead(nn.Module):
    """Cosine similarity to a table of label embeddings, divided by a temperature (HuBERT, arXiv 2106.07447, equation 3).

    fairseq's loss sets the true label against all others, one by one. That is the softmax over all classes, so this is one
    product of matrices and a cross-entropy, and no tensor of N x C x P is made.

    Args:
        size: D, of the frames.
        num_units: of the codebook.
        final_size: P.
        temperature: of the softmax.
        num_special: classes before the units that no frame has: fairseq's dictionary begins with four symbols, whose rows are
            further negatives.
    """

    def __init__(
        self, *, size: int, num_units: int, final_size: int = 256, temperature: float = 0.1, num_special: int = 4
    ) -> None:
        super().__init__()
        self.temperature, self.num_special = temperature, num_special
        self.final_proj = nn.Linear(size, final_size)
        self.label_embeddings = nn.Parameter(torch.empty(num_special + num_units, final_size).uniform_())

    @property
    def num_units(self) -> int:
        """Units that it tells apart."""
        return len(self.label_embeddings) - self.num_special

    def directions(self, hidden_ND: Tensor) -> Tensor:
        """Projected frames (N, P) of length 1, in fp32, whatever the frames are computed in."""
        with torch.autocast(hidden_ND.device.type, enabled=False):
            weight_PD, bias_P = self.final_proj.weight.float(), self.final_proj.bias.float()
            return normalize(nn.functional.linear(hidden_ND.float(), weight_PD, bias_P), dim=-1)

    def logits(self, hidden_ND: Tensor) -> Tensor:
        """(N, C) in fp32."""
        with torch.autocast(hidden_ND.device.type, enabled=False):
            table_CP = normalize(self.label_embeddings.float(), dim=-1)
            return self.directions(hidden_ND) @ table_CP.T / self.temperature

    def losses(self, hidden_ND: Tensor, units_N: Tensor) -> tuple[Tensor, Tensor]:
        """The cross-entropy (N,) of each frame in nats, and the unit (N,) that is predicted."""
        logits_NC = self.logits(hidden_ND)
        losses_N = cross_entropy(logits_NC, units_N + self.num_special, reduction="none")
        return losses_N, self._best(logits_NC)

    @torch.no_grad()
    def predicted(self, hidden_ND: Tensor) -> Tensor:
        """The unit (N,) that is predicted for each frame."""
        return self._best(self.logits(hidden_ND))

    def _best(self, logits_NC: Tensor) -> Tensor:
        return logits_NC.detach().argmax(-1) - self.num_special

    def save(self, folder: Path, *, label_rate_hz: float) -> None:
        """Write `prediction_head.safetensors`."""
        stored = StoredHead(
            self.state_dict(), temperature=self.temperature, num_special=self.num_special, label_rate_hz=label_rate_hz
        )
        stored.write(folder)


@dataclass(frozen=True)
class StoredHead:
    """A prediction head as it lies in a folder.

    Args:
        tensors: `final_proj.weight` (P, D), `final_proj.bias` (P), `label_embeddings` (C, P).
        temperature, num_special: as in `PredictionHead`.
        label_rate_hz: of the labels that it was trained on.
    """

    tensors: Mapping[str, Tensor]
    temperature: float
    num_special: int
    label_rate_hz: float

    def write(self, folder: Path) -> None:
        """Write the file; equal heads give equal bytes."""
        about = {
            "logit_temperature": self.temperature,
            "num_special": self.num_special,
            "label_rate_hz": self.label_rate_hz,
        }
        tensors = {name: one.detach().float().cpu().contiguous() for name, one in self.tensors.items()}
        # one entry: safetensors writes several in a random order
        save_file(tensors, folder / HEAD_FILE, metadata={"mlsuperb": json.dumps(about)})

    @classmethod
    def read(cls, folder: Path) -> StoredHead:
        """Read what `write` wrote.

        Raises:
            ValueError: there is no such file, or it is damaged.
        """
        path = folder / HEAD_FILE
        if not path.is_file():
            raise ValueError(f"{folder} has no prediction head ({HEAD_FILE}): published checkpoints rarely do")
        try:
            with safe_open(path, "pt") as file:
                about = json.loads((file.metadata() or {})["mlsuperb"])
                names = ("final_proj.weight", "final_proj.bias", "label_embeddings")
                tensors = {name: file.get_tensor(name) for name in names}
            return cls(
                tensors, temperature=float(about["logit_temperature"]), num_special=int(about["num_special"]),
                label_rate_hz=float(about["label_rate_hz"]),
            )  # fmt: skip
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path} cannot be read as a prediction head ({error}); restore a copy, or remove it"
            ) from error

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments of its `PredictionHead`."""
        num_classes, final_size = self.tensors["label_embeddings"].shape
        return {
            "size": self.tensors["final_proj.weight"].shape[1],
            "num_units": num_classes - self.num_special,
            "final_size": final_size,
            "temperature": self.temperature,
            "num_special": self.num_special,
        }

    def differences(self, folder: Path, labels: About, **settings: Any) -> list[str]:
        """What a training on some labels has otherwise than this head: `size 64 there, 32 here`.

        Args:
            folder: of the head; the record of its model names the codebook, unless it was imported from fairseq.
            settings: further arguments of `PredictionHead` that it should have.

        Raises:
            ValueError: the record of its model is damaged.
        """
        here = {**settings, "num_units": labels.num_units, "rate_hz": labels.rate_hz, "codebook": labels.codebook}
        there = here | {name: value for name, value in self.settings.items() if name in here}
        if self.label_rate_hz > 0:  # fairseq writes -1 where it is the rate of the frames
            there["rate_hz"] = self.label_rate_hz
        origin = folder / EXPORT_FILE
        about = json_object(origin, remedy="Restore a copy of the model") if origin.is_file() else {}
        if codebook := about.get("targets", {}).get("codebook"):
            there["codebook"] = codebook
        else:
            log.warning(
                "the head in %s does not say which codebook its units are of: see to it that the labels have the same ones in "
                "the same order", folder,
            )  # fmt: skip
        return [f"{name} {there[name]} there, {here[name]} here" for name in here if there[name] != here[name]]

    def head(self) -> PredictionHead:
        """The head itself."""
        head = PredictionHead(**self.settings)
        head.load_state_dict(dict(self.tensors))
        return head


def take_projection(head: PredictionHead, base: Path | None) -> None:
    """Give a new head the final projection of the one in a folder, and leave that out of the training. Published checkpoints
    have no head: then the projection stays new and is trained.

    Raises:
        ValueError: it is a projection of another size.
    """
    if base is None or not (base / HEAD_FILE).is_file():
        log.warning(
            "%s has no prediction head: the final projection is new, and trained with the labels", base or "the base"
        )
        return
    stored, wanted = StoredHead.read(base), head.final_proj.weight.shape
    weight_PD = stored.tensors["final_proj.weight"]
    if weight_PD.shape != wanted:
        raise ValueError(
            f"the head in {base} projects {weight_PD.shape[1]} to {weight_PD.shape[0]} numbers, that of this training "
            f"{wanted[1]} to {wanted[0]}. Set prediction.final_size={weight_PD.shape[0]}, or prediction.projection=new"
        )
    with torch.no_grad():
        head.final_proj.weight.copy_(weight_PD)
        head.final_proj.bias.copy_(stored.tensors["final_proj.bias"])
    head.final_proj.requires_grad_(False)
