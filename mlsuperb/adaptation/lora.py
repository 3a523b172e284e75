"""Low-rank updates of linear layers (LoRA, arXiv 2106.09685), through peft."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, PositiveFloat, PositiveInt
from torch import nn

from mlsuperb.adaptation.base import BlockAdaptation
from mlsuperb.adaptation.layers import Layers
from mlsuperb.layers.dropout import use_faster_dropout
from mlsuperb.runtime.files import disk_errors_named, replaced, write_atomic
from mlsuperb.runtime.tensor_files import save_tensors
from mlsuperb.upstreams.adapter import HEADER, PEFT_FOLDER, PEFT_PREFIX, WEIGHTS_FILE, merge_lora, silence_bitsandbytes
from mlsuperb.upstreams.base import Stack, Stacked
from mlsuperb.upstreams.probe import MERGED_TOLERANCE, largest_difference, layers_of_noise
from mlsuperb.upstreams.selfsupervised import SelfSupervised

Projection = Literal["q", "k", "v", "out"]
_CARD = """---
{about}
---

# LoRA adapter of {base}

Updates of rank {rank} (alpha {alpha}) of linear layers in the {stack} of `{base}`, trained with mlsuperb. The folder of its run
has the head that was trained with it, its settings and its scores.

```python
from peft import PeftModel
from transformers import AutoModel

model = PeftModel.from_pretrained(AutoModel.from_pretrained("{base}"), "FOLDER")  # this folder
```

In mlsuperb: `mlsuperb adapters merge FOLDER --base BASE --out DIR`, or `+upstream.adapter=FOLDER`.
"""
PROJECTIONS = ("q", "k", "v", "out")  # the order of `Stack.attention_linears`


@dataclass(kw_only=True)
class LowRank(BlockAdaptation):
    """W x + alpha / rank * B A x, of which A and B are trained; B starts at zero.

    Args:
        rank: rows of A.
        alpha: scale, see above.
        attention: projections of the self-attention that get an update.
        ffn: whether the feed-forward layers get one (in a macaron block those of both networks).
        layers, gradient_checkpointing, stack: see `BlockAdaptation`.
    """

    rank: PositiveInt = 8
    alpha: PositiveFloat = 16
    attention: list[Projection] = field(default_factory=lambda: ["q", "k", "v", "out"])
    ffn: bool = False

    @classmethod
    def problems(
        cls, *, attention: Sequence[str] = PROJECTIONS, ffn: bool = False, layers: Layers = None, **_: Any
    ) -> list[str]:
        found = super().problems(layers=layers)
        if not attention and not ffn:
            found.append(
                "adaptation.attention is empty and adaptation.ffn is false, so nothing would be trained: give projections "
                f"(some of {', '.join(PROJECTIONS)}) or adaptation.ffn=true."
            )
        return found

    def linears(self, model: Stacked, stack: Stack) -> list[str]:
        """The linear layers of a block that get an update.

        Raises:
            ValueError: the attention of this stack cannot have one, or the rank is more than these layers have.
        """
        if self.attention:
            remedy = "Give adaptation.attention=[] adaptation.ffn=true, or choose a bottleneck adapter (houlsby)."
            self.refuse(stack, "attention_linears", remedy)
        at = dict(zip(PROJECTIONS, stack.attention_linears, strict=True))
        chosen = [at[projection] for projection in self.attention] + list(stack.ffn_linears if self.ffn else ())
        first: Any = next(model.get_submodule(stack.blocks).children())
        widths = [(one.in_features, one.out_features) for one in map(first.get_submodule, chosen)]
        if self.rank > (most := min(map(min, widths))):
            raise ValueError(
                f"adaptation.rank={self.rank} is more than {most}, the size of the layers that it would update, whose rank it "
                f"cannot exceed: lower it, or train them whole with adaptation=full."
            )
        return chosen


@dataclass(kw_only=True)
class LoRA(LowRank):
    """Low-rank updates through peft.

    Args:
        dropout: on x before A.
        rslora: rank-stabilised scale alpha / sqrt(rank) (arXiv 2312.03732).
        dora: magnitude and direction apart (arXiv 2402.09353).
        rank, alpha, attention, ffn: see `LowRank`.
        layers, gradient_checkpointing, stack: see `BlockAdaptation`.
    """

    label = "LoRA"

    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    rslora: bool = False
    dora: bool = False

    def change(self, model: Stacked, stack: Stack, chosen: list[int]) -> Collection[str]:
        """Injects peft's layers, as an adapter named by the stack, into the model of which `stack.blocks` is a part."""
        linears = self.linears(model, stack)
        silence_bitsandbytes()
        from peft import LoraConfig, inject_adapter_in_model
        from peft.tuners.lora import LoraLayer

        base, blocks = split(model, stack)
        config = LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,  # type: ignore[arg-type]  # peft computes with floats just as well
            lora_dropout=self.dropout,
            use_rslora=self.rslora,
            use_dora=self.dora,
            bias="none",
            task_type=None,  # every other type expects a text model's arguments
            target_modules=_pattern(blocks, chosen, linears),
        )
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Already found a `peft_config`")  # of another stack
            inject_adapter_in_model(config, base, adapter_name=self.stack)
        use_faster_dropout(base)
        # all else is frozen
        trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
        for layer in base.modules():
            if isinstance(layer, LoraLayer):  # peft has left the new adapter alone active; each layer has one
                layer.set_adapter(list(layer.lora_A))
        return trained

    def export(self, model: Stacked, folder: Path) -> None:
        """Writes `<folder>/peft_adapter`, which `peft.PeftModel.from_pretrained(base, ...)` opens; `base` is the transformers
        model in `model`. The header of its weights has `base_record`, by which the base is known again."""
        from peft import get_peft_model_state_dict

        base: Any = split(model, self.find(model))[0]
        config = base.peft_config[self.stack]
        config.inference_mode = True
        config.base_model_name_or_path = model.record().get("checkpoint")
        config.save_pretrained(folder / PEFT_FOLDER)
        tensors = get_peft_model_state_dict(
            base,
            state_dict=dict(base.named_parameters()),
            adapter_name=self.stack,
            save_embedding_layers=False,  # else it asks the hub
        )
        named = {f"{PEFT_PREFIX}{name}": tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        path = folder / PEFT_FOLDER / WEIGHTS_FILE
        with disk_errors_named(path), replaced(path) as temporary:
            save_tensors(named, temporary, metadata={"format": "pt", HEADER: json.dumps(self.base_record(model))})
        with disk_errors_named(path):
            write_atomic(folder / PEFT_FOLDER / "README.md", [self._card(model.record())])

    def _card(self, base: Mapping[str, Any]) -> str:
        """The model card of the adapter, in the hub's format; `base`: record of the model that it was trained on."""
        checkpoint = str(base.get("checkpoint") or "unknown")
        published = not base.get("sha256") and checkpoint.count("/") == 1
        about: dict[str, Any] = {"library_name": "peft", "tags": ["mlsuperb", "lora", "speech"]}
        about |= {"base_model": checkpoint} if published else {}
        name = checkpoint if published else Path(checkpoint).name
        return _CARD.format(
            about=yaml.safe_dump(about).strip(), base=name, rank=self.rank, alpha=f"{self.alpha:g}", stack=self.stack
        )

    def base_record(self, model: Stacked) -> dict[str, Any]:
        """What the updates were trained beside (`Adapter.base`)."""
        return model.record()


def merge(upstream: SelfSupervised) -> float:
    """Put peft's updates of an upstream into its weights, and compare all layers before and after.

    Returns:
        The largest difference, relative to the largest value of its layer.

    Raises:
        ValueError: it is too large.
    """
    before = layers_of_noise(upstream)
    merge_lora(upstream.model)
    difference = largest_difference(before, layers_of_noise(upstream))
    if not difference < MERGED_TOLERANCE:
        raise ValueError(
            f"with its updates merged into the weights the model gives other layers (relative difference {difference:.1e}). The "
            "updates are so large that rounding shows: train at a lower rate (trainer.optimizer.lr)"
        )
    return difference


def split(model: Stacked, stack: Stack) -> tuple[nn.Module, str]:
    """The model that peft sees, which is the attribute of `model` that holds the blocks (or `model` itself, if that holds
    them directly), and the name of the blocks in there."""
    root, dot, blocks = stack.blocks.partition(".")
    return (model.get_submodule(root), blocks) if dot else (model, root)


def _pattern(blocks: str, chosen: list[int], linears: list[str]) -> str:
    """What peft matches whole module names with."""
    numbers, names = "|".join(map(str, chosen)), "|".join(map(re.escape, linears))
    return rf"{re.escape(blocks)}\.({numbers})\.({names})"
