"""LoRA adapters in peft's layout: read, checked against the model that they were trained on, put on it and merged into it.

<folder>/adapter_config.json          rank, scale, target modules (peft's LoraConfig)
<folder>/adapter_model.safetensors    the updates; our own say in the header which weights they were trained on
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import nn

from mlsuperb.runtime.records import json_object
from mlsuperb.upstreams.sources import ADAPTER, sha256

PEFT_FOLDER = "peft_adapter"  # in the folder of a run
PEFT_PREFIX = "base_model.model."  # before every name in a peft adapter file
WEIGHTS_FILE = "adapter_model.safetensors"
HEADER = "mlsuperb"  # key in the header of the weights: the record of the upstream that they were trained on
# of `init_lora_weights`: those by which peft leaves the base as it is (it would take parts of the weights out for others)
_INITS = (True, False, None, "gaussian", "eva")
_CHANGES_MORE = (
    "layer_replication", "megatron_config", "modules_to_save", "target_parameters", "trainable_token_indices",
    "alora_invocation_tokens",
)  # fmt: skip
QUANTISED = "quantised"  # in that record: how, where the weights were kept in few bits
_DOWN, _UP, _MAGNITUDE = ".lora_A.weight", ".lora_B.weight", ".lora_magnitude_vector"

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """An adapter on disk, of which the weights are not read yet.

    Args:
        folder: with `adapter_config.json` in it.
        settings: what that file says.
        base: record of the upstream that it was trained on (`Stacked.record`); empty where the file does not say it.
        shapes: of its tensors, by their names in the base model.
    """

    folder: Path
    settings: Mapping[str, Any]
    base: Mapping[str, Any]
    shapes: Mapping[str, tuple[int, ...]]

    @classmethod
    def open(cls, folder: Path) -> Adapter:
        """The adapter in a folder, or in `peft_adapter` in it, where a run has it.

        Raises:
            ValueError: there is none, it is damaged, or it is no LoRA adapter.
        """
        place = folder / PEFT_FOLDER if (folder / PEFT_FOLDER / ADAPTER).is_file() else folder
        for name in (ADAPTER, WEIGHTS_FILE):
            if not (place / name).is_file():
                raise ValueError(
                    f"{folder} holds no adapter ({name} is missing). Give the folder of a finished run with adaptation=lora, or "
                    "one that peft's save_pretrained wrote"
                )
        try:
            settings = json_object(place / ADAPTER, remedy="Restore a copy")
            with safe_open(place / WEIGHTS_FILE, "pt") as file:
                base = json.loads((file.metadata() or {}).get(HEADER, "{}"))
                shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 (no mapping)
        except (SafetensorError, ValueError, OSError) as error:
            raise ValueError(
                f"{place} cannot be read as an adapter ({error}); restore a copy, or train it anew"
            ) from error
        named = {name.removeprefix(PEFT_PREFIX): shape for name, shape in shapes.items()}
        other = [name for name in named if not name.endswith((_DOWN, _UP, _MAGNITUDE))]
        if settings.get("peft_type") != "LORA" or other:
            held = f"weights such as {other[0]}" if other else f"an adapter of the type {settings.get('peft_type')}"
            raise ValueError(f"{place} holds {held}; only LoRA's updates of linear layers can be read")
        found = cls(folder=place, settings=settings, base=base if isinstance(base, dict) else {}, shapes=named)
        if wrong := list(found._problems()):
            raise ValueError(
                f"{place} cannot be read as an adapter: {'; '.join(wrong)}. Restore a copy, or train it anew"
            )
        return found

    def _problems(self) -> Iterator[str]:
        """Pairs of updates that are not whole, and settings by which peft would do more than add them."""
        for name in self.shapes:
            stem = name.removesuffix(_DOWN).removesuffix(_UP).removesuffix(_MAGNITUDE)
            there = [self.shapes.get(stem + end, ()) for end in (_DOWN, _UP)]
            if [len(shape) for shape in there] != [2, 2]:
                yield f"{stem} has no whole update"
        if not isinstance(self.settings.get("r"), int):
            yield f"{ADAPTER} says r={self.settings.get('r')!r}, which is no rank"
        if (start := self.settings.get("init_lora_weights", True)) not in _INITS:
            yield f"it was trained on a base that was changed first (init_lora_weights={start!r})"
        for setting in _CHANGES_MORE:
            if self.settings.get(setting):
                yield f"it changes more than linear layers ({setting} in {ADAPTER})"

    @property
    def name(self) -> str:
        """Of the run, or of the folder."""
        whole = self.folder.resolve()
        return whole.parent.name if whole.name == PEFT_FOLDER else whole.name

    @property
    def modules(self) -> dict[str, tuple[int, int]]:
        """The linear layers that it updates: name in the base model -> sizes of output and input."""
        downs = [name.removesuffix(_DOWN) for name in self.shapes if name.endswith(_DOWN)]
        return {name: (self.shapes[name + _UP][0], self.shapes[name + _DOWN][1]) for name in downs}

    @property
    def base_name(self) -> str:
        """The checkpoint that it was trained on, as it was called then."""
        return str(self.base.get("checkpoint") or self.settings.get("base_model_name_or_path") or "unknown")

    def record(self) -> dict[str, Any]:
        """What the record of an upstream with this adapter says of it; no path, since adapters are copied."""
        return {"sha256": {name: sha256(self.folder / name) for name in (ADAPTER, WEIGHTS_FILE)}}

    def check(self, model: nn.Module, *records: Mapping[str, Any], given: str) -> None:
        """Check that it was trained on these weights, as far as both sides say it, and that all of it has a place in the model.

        Args:
            model: of transformers.
            records: of its weights; further ones are of other weights that are allowed.
            given: what the adapter was given by, for messages.

        Raises:
            ValueError: it is an adapter of another base, or of one that was quantised; names both.
        """
        if bits := self.base.get(QUANTISED):
            raise ValueError(
                f"{given} was trained beside weights of {bits['bits']} bits (adaptation=qlora), and here they are whole: "
                "its layers would be others. Use the run itself, or train with adaptation=lora"
            )
        same = [same_weights(self.base, record) for record in records]
        if False in same and True not in same:
            raise ValueError(
                f"{given} was trained on {described(self.base)}, and the base here is {' or '.join(map(described, records))}. "
                "An adapter only works on the weights that it was trained on: give these as the base, or train the adapter "
                "anew on this one"
            )
        if True not in same:
            log.warning(
                "%s: it is not known whether it was trained on the weights of %s; only shapes are compared",
                given, records[0].get("checkpoint", "the base"),
            )  # fmt: skip
        if misfits := list(self._misfits(model)):
            raise ValueError(
                f"{given} was trained on {self.base_name}, and {len(misfits)} of its {len(self.modules)} updates do not fit "
                f"{records[0].get('checkpoint', 'the base')}: {misfits[0]}. Give the base that it was trained on"
            )

    def _misfits(self, model: nn.Module) -> Iterator[str]:
        modules = dict(model.named_modules())
        for name, (outputs, inputs) in self.modules.items():
            weight: Any = getattr(modules.get(name), "weight", None)
            if weight is None:
                yield f"it has no layer {name}"
            elif tuple(weight.shape) != (outputs, inputs):
                yield f"{name} is {' x '.join(map(str, weight.shape))}, the update {outputs} x {inputs}"

    def attach(self, model: nn.Module, *, name: str = "adapter") -> None:
        """Put the updates beside the layers of a model that `check` has accepted, and activate them, together with those of
        adapters that are attached already under other names. The weights of the base are not touched.

        Raises:
            ValueError: the files are damaged.
        """
        silence_bitsandbytes()
        from peft import LoraConfig, inject_adapter_in_model, set_peft_model_state_dict
        from peft.tuners.lora import LoraLayer
        from safetensors.torch import load_file

        flags = {parameter: parameter.requires_grad for parameter in model.parameters()}
        try:
            config: Any = LoraConfig.from_pretrained(str(self.folder))
            tensors = {key.removeprefix(PEFT_PREFIX): one for key, one in load_file(self.folder / WEIGHTS_FILE).items()}
            # without allocating updates that are random: the generator's state stays as it is
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Already found a `peft_config`")  # of another adapter
                inject_adapter_in_model(config, model, adapter_name=name, low_cpu_mem_usage=True)
            loaded: Any = set_peft_model_state_dict(model, tensors, adapter_name=name, low_cpu_mem_usage=True)
        except Exception as error:  # there is no end to what peft raises at settings that cannot be
            raise ValueError(
                f"{self.folder} cannot be read as an adapter ({type(error).__name__}: {error}); restore a copy, or train it anew"
            ) from error
        assert not loaded.unexpected_keys, loaded.unexpected_keys
        for layer in model.modules():
            if isinstance(layer, LoraLayer):
                layer.set_adapter(list(layer.lora_A))
        for parameter in model.parameters():  # peft has frozen the base, and would train the updates
            parameter.requires_grad_(flags.get(parameter, False))


def same_weights(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool | None:
    """Whether two records (`Stacked.record`) are of the same weights; None where they have nothing in common to tell it by."""
    kinds = [name for name in ("sha256", "commit") if one.get(name) and other.get(name)]
    if not kinds:
        return None
    kinds += ["config"] if one.get("config") and other.get("config") else []
    added = [record.get("adapter", {}).get("sha256") for record in (one, other)]
    return all(one[name] == other[name] for name in kinds) and added[0] == added[1]


def described(record: Mapping[str, Any]) -> str:
    """A base for people: the checkpoint and how its weights begin."""
    files = record.get("sha256") or {}
    digest = next(iter(files.values()), None) or record.get("commit")
    adapter = record.get("adapter")
    parts = [f"weights {digest[:12]}"] if digest else []
    parts += [f"with the adapter {adapter['sha256'][WEIGHTS_FILE][:12]}"] if adapter else []
    return f"{record.get('checkpoint') or 'an unknown checkpoint'}" + (f" ({', '.join(parts)})" if parts else "")


def merge_lora(model: nn.Module) -> None:
    """Put peft's updates (LoRA, rsLoRA, DoRA) into the weights of their layers, and the layers where they were."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    wrapped = [(name, module) for name, module in model.named_modules() if isinstance(module, BaseTunerLayer)]
    for name, module in wrapped:
        module.merge(safe_merge=True)  # raises at NaN
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, module.get_base_layer())
    if wrapped:
        del model.peft_config


def silence_bitsandbytes() -> None:
    """peft imports bitsandbytes, which asks on some CPUs for a package that only its inference could use."""
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
