"""The prediction head of HuBERT. Letters: N frames, D feature size, P projected size, C classes."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

HEAD_FILE = "prediction_head.safetensors"


class PredictionHead(nn.Module):
    """Cosine similarity to a table of label embeddings, divided by a temperature (HuBERT, arXiv 2106.07447, equation 3).

    fairseq's loss sets the true label against all others, one by one. That is the softmax over all classes, so this is one product
    of matrices and a cross-entropy, and no tensor of N x C x P is made.

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

    def logits(self, hidden_ND: Tensor) -> Tensor:
        """(N, C) in fp32, whatever the frames are computed in."""
        with torch.autocast(hidden_ND.device.type, enabled=False):
            weight_PD, bias_P = self.final_proj.weight.float(), self.final_proj.bias.float()
            projected_NP = nn.functional.linear(hidden_ND.float(), weight_PD, bias_P)
            table_CP = normalize(self.label_embeddings.float(), dim=-1)
            return normalize(projected_NP, dim=-1) @ table_CP.T / self.temperature

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
        about = {"logit_temperature": self.temperature, "num_special": self.num_special, "label_rate_hz": label_rate_hz}
        tensors = {name: one.detach().float().cpu().contiguous() for name, one in self.state_dict().items()}
        save_file(tensors, folder / HEAD_FILE, metadata={name: json.dumps(value) for name, value in about.items()})


def load_head(folder: Path) -> PredictionHead:
    """The prediction head in a folder.

    Raises:
        ValueError: there is none, or it is damaged.
    """
    path = folder / HEAD_FILE
    if not path.is_file():
        raise ValueError(
            f"{folder} has no prediction head ({HEAD_FILE}): published checkpoints rarely do. Leave prediction.start out to "
            "train a new one"
        )
    try:
        with safe_open(path, "pt") as file:
            about = {name: json.loads(value) for name, value in (file.metadata() or {}).items()}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        table_CP, num_special = tensors["label_embeddings"], int(about["num_special"])
        head = PredictionHead(
            size=tensors["final_proj.weight"].shape[1], num_units=len(table_CP) - num_special, final_size=table_CP.shape[1],
            temperature=about["logit_temperature"], num_special=num_special,
        )  # fmt: skip
        head.load_state_dict(tensors)
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path} cannot be read as a prediction head ({error}); restore a copy") from error
    return head
