"""Low-rank updates of linear layers (LoRA, arXiv 2106.09685), through peft."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt
from torch import nn

from mlsuperb.adaptation.base import BlockAdaptation
from mlsuperb.adaptation.layers import Layers
from mlsuperb.upstreams.base import Anatomy, Upstream

PEFT_FOLDER = "peft_adapter"
PEFT_PREFIX = "base_model.model."  # before every name in a peft adapter file

Projection = Literal["q", "k", "v", "out"]
PROJECTIONS = ("q", "k", "v", "out")  # the order of `Anatomy.attention_linears`


class LoRA(BlockAdaptation):
    """W x + alpha / rank * B A x, of which A and B are trained; B starts at zero.

    Args:
        rank: rows of A.
        alpha: scale, see above; with `rslora` alpha / sqrt(rank).
        dropout: on x before A.
        attention: projections of the self-attention that get an update.
        ffn: whether the feed-forward layers get one (in a macaron block those of both networks).
        rslora: rank-stabilised scale (arXiv 2312.03732).
        dora: magnitude and direction apart (arXiv 2402.09353).
        layers: blocks that get updates; see `mlsuperb.adaptation.layers`.
        gradient_checkpointing: see `BlockAdaptation`.
    """

    label = "LoRA"

    def __init__(
        self,
        *,
        rank: PositiveInt = 8,
        alpha: PositiveFloat = 16,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
        attention: list[Projection] = ["q", "k", "v", "out"],  # noqa: B006  (read only)
        ffn: bool = False,
        rslora: bool = False,
        dora: bool = False,
        layers: Layers = None,
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__(layers=layers, gradient_checkpointing=gradient_checkpointing)
        if found := self.problems(attention=attention, ffn=ffn):
            raise ValueError(" ".join(found))
        self.rank, self.alpha, self.dropout = rank, alpha, dropout
        self.attention, self.ffn = list(attention), ffn
        self.rslora, self.dora = rslora, dora

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

    def change(self, upstream: Upstream, anatomy: Anatomy, chosen: list[int]) -> Collection[str]:
        """Injects peft's layers into the model of which `anatomy.blocks` is a part."""
        if self.attention:
            remedy = "Give adaptation.attention=[] adaptation.ffn=true, or choose a bottleneck adapter (houlsby)."
            self.refuse(anatomy, "attention_linears", remedy)
        # peft imports bitsandbytes, which asks on some CPUs for a package that only its inference could use
        logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
        from peft import LoraConfig, inject_adapter_in_model

        _, blocks = _split_root(anatomy)
        base = self.base(upstream, anatomy)
        config = LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,  # type: ignore[arg-type]  # peft computes with floats just as well
            lora_dropout=self.dropout,
            use_rslora=self.rslora,
            use_dora=self.dora,
            bias="none",
            task_type=None,  # every other type expects a text model's arguments
            target_modules=_pattern(blocks, chosen, self._linears(anatomy)),
        )
        inject_adapter_in_model(config, base)
        return [
            name for name, parameter in upstream.named_parameters() if parameter.requires_grad
        ]  # all else is frozen

    def base(self, upstream: Upstream, anatomy: Anatomy) -> nn.Module:
        """The model that peft sees: the one that `anatomy.blocks` is a part of."""
        return upstream.get_submodule(_split_root(anatomy)[0])

    def _linears(self, anatomy: Anatomy) -> list[str]:
        at = dict(zip(PROJECTIONS, anatomy.attention_linears, strict=True))
        return [at[projection] for projection in self.attention] + list(anatomy.ffn_linears if self.ffn else ())

    def export(self, upstream: Upstream, folder: Path) -> None:
        """Writes `<folder>/peft_adapter`, which `peft.PeftModel.from_pretrained(base, ...)` opens; `base` is the upstream's
        transformers model."""
        from peft import get_peft_model_state_dict
        from safetensors.torch import save_file

        assert upstream.anatomy is not None
        base = self.base(upstream, upstream.anatomy)
        (config,) = base.peft_config.values()  # type: ignore[operator]
        config.inference_mode = True
        config.base_model_name_or_path = upstream.record().get("checkpoint")
        config.save_pretrained(folder / PEFT_FOLDER)
        named = dict(base.named_parameters())
        tensors = get_peft_model_state_dict(base, state_dict=named, save_embedding_layers=False)  # else it asks the hub
        save_file(
            {f"{PEFT_PREFIX}{name}": tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
            folder / PEFT_FOLDER / "adapter_model.safetensors",
            metadata={"format": "pt"},
        )


def _split_root(anatomy: Anatomy) -> tuple[str, str]:
    """The upstream's attribute that holds its model (empty: it holds the blocks itself), and their name in there."""
    root, dot, blocks = anatomy.blocks.partition(".")
    return (root, blocks) if dot else ("", root)


def _pattern(blocks: str, chosen: list[int], linears: list[str]) -> str:
    """What peft matches whole module names with."""
    numbers, names = "|".join(map(str, chosen)), "|".join(map(re.escape, linears))
    return rf"{re.escape(blocks)}\.({numbers})\.({names})"
