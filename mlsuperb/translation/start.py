"""What an earlier run trained, put into a model before it is adapted further."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
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
from mlsuperb.runs.store import config_to_build, read_config
from mlsuperb.runtime.records import json_object
from mlsuperb.scoring.result import TranslationResult
from mlsuperb.training.loop import MODEL_FILE
from mlsuperb.translation.translator import Translator
from mlsuperb.upstreams.base import NEWER

MODEL = "model"  # name of the record of the checkpoint in a run's folder
# settings of a model that change neither the shapes of its weights nor what its tokens are; the checkpoint is known by its hashes
_MAY_DIFFER = frozenset(
    {"name", "card", "checkpoint", "revision", "language_codes", "new_languages", "window_s", "dropout", "dropouts"}
)
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
        """Put in what the earlier runs trained, one after the other, adapt `translator`, and leave what `adaptation` trains to be
        trained. Weights of a run are loaded before the next one's adaptation is put in, which may rename parameters.

        Raises:
            ValueError: an earlier run had another model, or adapted a stack in another way.
        """
        stacks = _by_stack(own)
        named: dict[str, tuple[Path | None, dict[str, Any]]] = {name: (None, part) for name, part in stacks.items()}
        names: dict[str, list[str]] = {}
        for folder in self.runs():
            refuse_other_weights(folder, translator.record())
            for name, part in _by_stack(config_to_build(folder)["adaptation"]).items():
                _, other = named.setdefault(name, (folder, part))
                if other != part:
                    raise ValueError(
                        f"{folder} has adapted the stack {name} by {part}, and a later run would by {other}: give the same "
                        "settings to train it further, or another stack"
                    )
                if name not in names:
                    names[name] = _put_in(translator, name, part)
            _load(translator, folder)
        if not stacks:
            adaptation.apply(translator)
            return
        names |= {name: _put_in(translator, name, part) for name, part in stacks.items() if name not in names}
        train_only(translator, [one for name in stacks for one in names[name]])

    def runs(self) -> list[Path]:
        """The folders whose weights are put in, in their order: what the run itself began with, before the run."""
        folder = Path(self.run)
        earlier = read_config(folder).get("start")
        return [*(Start(run=earlier["run"]).runs() if earlier else ()), folder]


def model_misfits(config: Mapping[str, Any]) -> Iterator[str]:
    """Whether runs that a configuration goes on from had another model: another architecture or other tokens. What depends on
    weights is told by `refuse_other_weights`."""
    if not config.get("start") or Start.problems(**config["start"]):
        return
    now = _architecture(config["model"])
    for folder in Start(run=config["start"]["run"]).runs():
        then = _architecture(read_config(folder)["model"])
        changed = [name for name in {**then, **now} if then.get(name) != now.get(name)]
        if changed:
            differ = ", ".join(f"{name} {then.get(name)} there, {now.get(name)} here" for name in changed)
            yield (
                f"start.run={config['start']['run']}: the model of {folder} is another ({differ}), so that its weights mean "
                "nothing here. Give the same settings of model="
            )


def refuse_other_weights(folder: Path, loaded: Mapping[str, Any]) -> None:
    """The checkpoint's files are known by their hashes, wherever they lie.

    Raises:
        ValueError: a run was trained on others than those that are `loaded`.
    """
    then = json_object(folder / f"{MODEL}.json", remedy="Restore a copy of the run")
    now = json.loads(json.dumps(dict(loaded)))
    names = ("sha256", "commit", *(name for name in NEWER if name in then))
    changed = [name for name in names if then.get(name) != now.get(name)]
    if changed:
        differ = ", ".join(f"{name} {then.get(name)} then, {now.get(name)} now" for name in changed)
        raise ValueError(
            f"the model of {folder} has changed since training ({differ}), so what was trained no longer fits it. Restore the "
            "checkpoint, or give its commit as model.revision in config.yaml"
        )


def _architecture(model: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in model.items() if name not in _MAY_DIFFER}


def _put_in(translator: Translator, stack: str, part: Mapping[str, Any]) -> list[str]:
    """Adapt a stack; returns the names of what is trained."""
    return Several(stacks={stack: instantiate(part)}).apply(translator)


def _load(translator: Translator, folder: Path) -> None:
    """Put in what a run trained, as far as its part of the model is in memory."""
    # with the statistics of batch norm, which a run of all weights saves
    own = translator.state_dict(prefix="translator.")
    absent = (*([] if translator.takes_speech else [SPEECH_PART]), *([] if translator.takes_text else [TEXT_PART]))
    tensors = {name: tensor for name, tensor in load_file(folder / MODEL_FILE).items() if not name.startswith(absent)}
    if unknown := sorted(name for name, one in tensors.items() if name not in own or own[name].shape != one.shape):
        raise ValueError(
            f"{folder} has trained {len(unknown)} tensors that this model does not have, or not in this shape "
            f"({', '.join(unknown[:3])}): give the model that it was trained with"
        )
    with torch.no_grad():
        for name, tensor in tensors.items():
            own[name].copy_(tensor)


def stacks_of(node: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Stack -> what adapts it, of the settings of an adaptation."""
    return dict(node["stacks"]) if "stacks" in node else {node.get("stack", "encoder"): node}


def _by_stack(node: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Stack -> its adaptation, without names and facts; none where all of the model was trained, or nothing."""
    if isinstance(instantiate(node), Everything | Frozen):
        return {}
    return {
        name: {key: value for key, value in part.items() if key not in ("name", "card", "stack")}
        for name, part in stacks_of(node).items()
    }
