"""What an earlier run trained, put into a model before it is adapted further."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from mlsuperb.adaptation.base import Adaptation, train_only
from mlsuperb.adaptation.frozen import Frozen
from mlsuperb.adaptation.full import Everything
from mlsuperb.adaptation.several import Several
from mlsuperb.config.build import instantiate
from mlsuperb.runs import store
from mlsuperb.runs.store import read_config
from mlsuperb.scoring.result import TranslationResult
from mlsuperb.training.loop import MODEL_FILE
from mlsuperb.translation.translator import Translator

# Parts that need not be in memory.
SPEECH_PART, TEXT_PART = "translator.model.speech_encoder.", "translator.model.text_encoder."


@dataclass(kw_only=True)
class Start:
    """Go on from an adapted model: its adaptation is put in with its weights. Stacks that both runs adapt in the same way are
    trained further, those of the earlier run alone are kept as they are, the others begin anew.

    Args:
        run: folder of a finished run of job=translation with the same model.
    """

    run: str

    @classmethod
    def problems(cls, *, run: str, **_: Any) -> list[str]:
        """Whether there is such a run, which has finished."""
        why = store.finished_problem("start.run", run, TranslationResult, job="translation", holds=MODEL_FILE)
        return [why] if why else []

    def apply(self, translator: Translator, adaptation: Adaptation, *, own: Mapping[str, Any]) -> None:
        """Adapt `translator` by both, and leave what `adaptation` trains to be trained.

        Raises:
            ValueError: a stack is adapted in different ways.
        """
        stacks, runs = _by_stack(own), self.runs()
        kept: dict[str, dict[str, Any]] = {}
        for folder in runs:
            for name, part in _by_stack(read_config(folder)["adaptation"]).items():
                if (other := stacks.get(name) or kept.get(name)) not in (None, part):
                    raise ValueError(
                        f"{folder} has adapted the stack {name} by {part}, and a later run would by {other}: give the same "
                        "settings to train it further, or another stack"
                    )
                if name not in stacks:
                    kept[name] = part
        if kept:
            Several(stacks={name: instantiate(part) for name, part in kept.items()}).apply(translator)
        trained = adaptation.apply(translator)
        for folder in runs:
            _load(translator, folder)
        train_only(translator, trained)

    def runs(self) -> list[Path]:
        """The folders whose weights are put in, in their order: what the run itself began with, before the run."""
        folder = Path(self.run)
        earlier = read_config(folder).get("start")
        return [*(Start(run=earlier["run"]).runs() if earlier else ()), folder]


def _load(translator: Translator, folder: Path) -> None:
    """Put in what a run trained, as far as its part of the model is in memory."""
    # with the statistics of batch norm, which a run of all weights saves
    own = translator.state_dict(prefix="translator.")
    absent = (*([] if translator.takes_speech else [SPEECH_PART]), *([] if translator.takes_text else [TEXT_PART]))
    tensors = {name: tensor for name, tensor in load_file(folder / MODEL_FILE).items() if not name.startswith(absent)}
    if unknown := sorted(set(tensors) - set(own)):
        raise ValueError(
            f"{folder} has trained {len(unknown)} tensors that this model has not ({', '.join(unknown[:3])}): give the model "
            "that it was trained with"
        )
    with torch.no_grad():
        for name, tensor in tensors.items():
            own[name].copy_(tensor)


def _by_stack(node: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Stack -> its adaptation, without names and facts; none where all of the model was trained, or nothing."""
    if isinstance(instantiate(node), Everything | Frozen):
        return {}
    parts = node["stacks"] if "stacks" in node else {node.get("stack", "encoder"): node}
    return {
        name: {key: value for key, value in part.items() if key not in ("name", "card", "stack")}
        for name, part in parts.items()
    }
