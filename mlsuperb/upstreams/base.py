"""What every upstream offers: a wave goes in, all layers come out, with their lengths."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mlsuperb.layers.masks import zero_padding
from mlsuperb.types import SAMPLE_RATE_HZ as SAMPLE_RATE_HZ
from mlsuperb.types import Features

ENCODER = "encoder"  # the stack that every upstream with Transformer blocks has
Regularisation = Literal["off", "mask_embedding"]


@dataclass(frozen=True, kw_only=True)
class Stack:
    """A stack of Transformer blocks and where an adaptation finds its parts: dotted names of modules
    (`nn.Module.get_submodule`). Stacks of one model do not overlap.

    Args:
        blocks: the list of Transformer blocks, in the model; block i makes layer i + 1, or layer i where layer 0 is left out.
        front: what stands before the blocks, in the model: convolutions first (`front[0]`), then projections, norms,
            positions.
        attention: the self-attention, in a block: a module whose output, or its first element, is added to the residual.
        ffn: the last linear layer of the (second) feed-forward network, in a block: before its dropout.
        ffn_dropout: the dropout behind `ffn`, in a block; None where it is no module of its own.
        attention_linears: linear layers of the self-attention, in a block: for queries, keys, values and output, in this order.
        ffn_linears: linear layers of the feed-forward network(s), in a block.
        whole: the module that, with the front, makes up the stack (blocks, final norm), in the model; empty where that is the
            model itself.
        refused: what cannot be done to this stack, by name of the place (`attention_linears`, `quantisation`, ...), each
            with the reason for the user.
    """

    blocks: str
    front: tuple[str, ...]
    attention: str
    ffn: str
    ffn_dropout: str | None
    attention_linears: tuple[str, ...]
    ffn_linears: tuple[str, ...]
    whole: str = ""
    refused: Mapping[str, str] = field(default_factory=dict)


class Stacked(nn.Module):
    """A model that adaptations can work on.

    Attributes:
        stacks: its stacks of Transformer blocks, by name (`encoder`, `decoder`, ...); none where there is nothing to adapt.
        dropout_while_frozen: keep the model's own dropout on in training although nothing in it is trained, as the
            original ML-SUPERB recipe did.
    """

    stacks: Mapping[str, Stack] = {}
    dropout_while_frozen: bool = False
    _record: Mapping[str, object] = {}

    def stacked_blocks(self) -> Iterator[nn.Module]:
        """The Transformer blocks of all stacks, in order."""
        for stack in self.stacks.values():
            yield from self.get_submodule(stack.blocks).children()

    def train(self, mode: bool = True) -> Self:
        """Train or eval mode, batch norm aside (`freeze_batch_norm`)."""
        super().train(mode)
        freeze_batch_norm(self)
        return self

    def record(self) -> dict[str, object]:
        """What a result should say of the weights that were really loaded: checkpoint, revision asked for, commit or file
        hashes, size and type, and whatever else decides what comes out."""
        return dict(self._record)


@dataclass(frozen=True)
class Front:
    """The first half of an upstream's output: `hidden_BFD`, of which `lengths_B` frames are the utterances' own, and
    `conv_BFC`, the output of the convolutions on the wave before projection (None where a model reads log-mels).
    `hidden_BFD` is computed from that very tensor, so that a hook on it (`Tensor.register_hook`) sees the whole gradient of
    the convolutions."""

    hidden_BFD: Tensor
    lengths_B: Tensor
    conv_BFC: Tensor | None = None


class Upstream(Stacked, ABC):
    """A speech model seen as a stack of layers, computed in two halves: `run_front`, then `run_blocks`.
    Letters: B batch, T samples, F frames, C channels, D feature size.

    Contracts, tested for every family: padding never changes a result; the number of layers is the same in train and
    eval mode; the last layer is the model's own output, final layer norm included (XEUS can be told to leave the norm out,
    and layer 0, too, as its authors do).

    A family defines `run_front` and `encode`; one that cannot be split overrides `forward` instead.

    Attributes:
        num_layers: how many layers `forward` returns.
        layer_size: D, the feature size of every layer.
        frame_rate_hz: frames per second.
        cheap: whether features are computed as fast as they could be read.
        has_final_norm: whether what comes out of the last block is normalised once more.
        has_input_layer: whether layer 0 is the input of the first block and layer i the output of block i; else layer i is the
            output of block i + 1.
    """

    num_layers: int
    layer_size: int
    frame_rate_hz: float
    cheap: bool = False
    has_final_norm: bool = True
    has_input_layer: bool = True

    def forward(self, wave_BT: Tensor, lengths_B: Tensor) -> Features:
        """All layers of a batch of 16 kHz waves in [-1, 1], of which `lengths_B` samples are valid; zero beyond each
        utterance's frames."""
        front = self.run_front(wave_BT, lengths_B)
        layers = self.run_blocks(front.hidden_BFD, front.lengths_B)
        return Features(layers, front.lengths_B, self.frame_rate_hz)

    def run_front(self, wave_BT: Tensor, lengths_B: Tensor) -> Front:
        """The first half: what convolutions or log-mels and the projection make of the waves. This is the place to mask frames
        for pre-training; those beyond an utterance's own are for `run_blocks` to interpret.

        Raises:
            ValueError: the model cannot be split.
        """
        raise ValueError(
            f"the upstream {type(self).__name__} cannot be split into a front and Transformer blocks, as pre-training needs "
            "it. Choose another one, such as upstream=hf"
        )

    def run_blocks(self, hidden_BFD: Tensor, lengths_B: Tensor) -> tuple[Tensor, ...]:
        """The second half: all `num_layers` layers (B, F, D), zero beyond `lengths_B` frames, from the `hidden_BFD` of
        `run_front`, which is not changed."""
        return tuple(zero_padding(layer, lengths_B) for layer in self.encode(hidden_BFD, lengths_B))

    def encode(self, hidden_BFD: Tensor, lengths_B: Tensor) -> Sequence[Tensor]:
        """The layers of `run_blocks`, with any values beyond `lengths_B` frames."""
        raise NotImplementedError

    def cut_above(self, layer: int) -> None:
        """Take out the blocks that `layer` does not need, so that whoever reads no other layer does not pay for them. Where
        what comes out of the last block is normalised once more, one block more is kept."""
        num_blocks = max(layer + (not self.has_input_layer) + self.has_final_norm, 1)
        if ENCODER in self.stacks and num_blocks + self.has_input_layer < self.num_layers:
            blocks = self.get_submodule(self.stacks[ENCODER].blocks)
            assert isinstance(blocks, nn.ModuleList)
            del blocks[num_blocks:]
            self.num_layers = num_blocks + self.has_input_layer

    @abstractmethod
    def num_frames(self, lengths_B: Tensor) -> Tensor:
        """Valid frames for so many valid samples."""

    @classmethod
    def depth(cls, settings: Mapping[str, Any]) -> int | None:
        """How many Transformer blocks an upstream of these settings will have; None where only its weights tell."""
        return 0 if cls.cheap else None  # log-mels and the like

    @classmethod
    def layer_count(cls, settings: Mapping[str, Any]) -> int | None:
        """How many layers an upstream of these settings will return; None where only its weights tell."""
        depth = cls.depth(settings)
        return None if depth is None else depth + cls.has_input_layer


def freeze_batch_norm(model: nn.Module) -> None:
    """Put batch norm into eval mode: its statistics are the model's; they would drift, and depend on padding. Its scales and
    shifts can be trained."""
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.eval()


# Of a record (`Stacked.record`), what older versions did not write
NEWER = ("config", "tokenizer", "generation", "language_adapter")


def same_record(then: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether two records are of models that compute the same, as far as an older one says it; a folder's files are known by
    their hashes, wherever they lie."""
    left_out = {name for name in NEWER if name not in then}
    left_out |= {"checkpoint"} if then.get("sha256") else set()
    files, more = now.get("sha256"), then.get("sha256")
    if isinstance(files, Mapping) and isinstance(more, Mapping):  # older versions also hashed files that are not read
        then = {**then, "sha256": {name: digest for name, digest in more.items() if name in files}}
    kept = ({name: value for name, value in one.items() if name not in left_out} for one in (then, now))
    return next(kept) == next(kept)


def inside(name: str, modules: Iterable[str]) -> bool:
    """Whether the parameter `name` belongs to one of `modules`; all belong to the model itself, whose name is empty."""
    return any(not module or name.startswith(f"{module}.") for module in modules)


def size_and_type(model: nn.Module) -> dict[str, object]:
    """What `record` says of a model's parameters."""
    parameters = list(model.parameters())
    return {
        "num_parameters": sum(parameter.numel() for parameter in parameters),
        "dtype": str(parameters[0].dtype).removeprefix("torch."),
    }
