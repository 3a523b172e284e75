"""From a model trained with ESPnet to a run folder."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from torch import Tensor

from mlsuperb import tasks
from mlsuperb.benchmark import build
from mlsuperb.config.check import check
from mlsuperb.config.compose import compose
from mlsuperb.config.options import refuse_unknown
from mlsuperb.data.languages import looks_like_code
from mlsuperb.data.text import codes_of_tokens
from mlsuperb.data.vocabulary import Vocabulary
from mlsuperb.espnet.folder import choose_weights, open_folder, read_tokens, read_weights
from mlsuperb.espnet.translate import Translation, translate
from mlsuperb.espnet.upstreams import S3prlUpstream
from mlsuperb.espnet.weights import check_vocabulary, fill, upstream_weights, write_upstream
from mlsuperb.runs.environment import environment
from mlsuperb.runtime.files import whole_folder, write_atomic, write_json
from mlsuperb.training.checkpoint import save_weights, trained_tensors
from mlsuperb.training.loop import MODEL_FILE
from mlsuperb.training.progress import PROGRESS_FILE, Progress
from mlsuperb.upstreams.sources import sha256

IMPORT_FILE, ESPNET_FILE = "import.json", "espnet.yaml"
HUGGING_FACE, S3PRL = "mlsuperb.upstreams.huggingface.HuggingFace", "mlsuperb.upstreams.s3prl.S3prl"
OWN_CHECKPOINT = "own"  # stands for a checkpoint that is in the run, or is named later


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What the user adds to what the folder says; None leaves it to the folder. See `--help`."""

    run: Path | None = None
    weights: str | None = None
    upstream: str | None = None
    upstream_checkpoint: str | None = None
    task: str | None = None
    normaliser: str | None = None


def import_espnet(folder: Path, wishes: Wishes | None = None) -> Path:
    """Make a run of the ESPnet model in `folder`; returns the run's folder.

    Raises:
        ValueError: the model cannot be imported, or the run is there already.
    """
    wishes = wishes or Wishes()
    espnet = open_folder(folder)
    weights, tokens = choose_weights(espnet, wishes.weights), read_tokens(espnet)
    translation = translate(espnet.config, tokens, languages=_language_tokens(tokens, wishes.task))
    tensors = read_weights(weights)
    check_vocabulary(tensors, num_tokens=len(tokens))
    digest = sha256(weights)
    run = wishes.run or Path("exp") / f"imported-{folder.resolve().name}-{digest[:8]}"
    if run.exists():
        raise ValueError(f"{run} is there already: remove it, or give another --run")
    config = _config(run, translation, wishes, has_upstream=bool(upstream_weights(tensors)))
    with whole_folder(run) as unfinished:
        _fill_folder(unfinished, config, tokens, translation, tensors, like=wishes.upstream_checkpoint)
        source = {"folder": str(folder), "weights": weights.name, "sha256": digest}
        write_json(unfinished / IMPORT_FILE, source | {"environment": environment()})
        shutil.copyfile(espnet.config_path, unfinished / ESPNET_FILE)
    return run


def _language_tokens(tokens: Sequence[str], task: str | None) -> list[str]:
    """The tokens that name languages: those in brackets, where the user's task names languages or all look like codes.

    Raises:
        ValueError: some do, and some do not.
    """
    codes = codes_of_tokens(tokens)
    if task is not None and tasks.known()[task].has_language:
        return [f"[{code}]" for code in codes]
    named = [code for code in codes if looks_like_code(code)]
    if named and (others := [code for code in codes if code not in named]):
        raise ValueError(
            f"the tokens [{others[0]}] and [{named[0]}] both stand in brackets, of which the second names a language and the "
            f"first ({len(others)} such) does not look so: give --task asr_lid (or lid) if it does, or write it without "
            f"brackets in token_list (<{others[0]}>)"
        )
    return [f"[{code}]" for code in named]


def _config(run: Path, translation: Translation, wishes: Wishes, *, has_upstream: bool) -> dict[str, Any]:
    """The settings of the run. Its corpus is not known here; those of training are the defaults, and nothing reads them.

    Raises:
        ValueError: the upstream is not known, or is not what the user says.
    """
    known = translation.upstream
    if not known and (wishes.upstream or wishes.upstream_checkpoint):
        raise ValueError("this model reads log-mels: leave --upstream and --upstream-checkpoint out")
    changes = {name: dict(getattr(translation, name)) for name in ("adaptation", "featurizer", "objective")}
    chosen = {name: part.pop("option") for name, part in changes.items()} | {
        "upstream": (wishes.upstream or known.option or "hf") if known else "fbank",
        "specaug": "none",
        "head": translation.encoder,
        "task": wishes.task or translation.task,
        # of beam 1, as ML-SUPERB decodes (conf/decode_asr.yaml); a decoder asks for its own
        "decoding": "prefix_beam" if translation.objective["option"] == "ctc" else "joint_beam",
    }
    overrides = [f"{group}={option}" for group, option in chosen.items()]
    refuse_unknown(overrides)
    own = [f"upstream.checkpoint={OWN_CHECKPOINT}"] if chosen["upstream"] in ("hf", "s3prl") else []
    config = compose([*overrides, *own])
    changes["head"] = translation.head
    changes["task"] = {"units": translation.units, "normaliser": wishes.normaliser or translation.normaliser}
    changes["upstream"] = translation.fbank
    if known:
        named = wishes.upstream_checkpoint or known.checkpoint or config["upstream"].get("checkpoint")
        checkpoint = str(run / build.UPSTREAM) if has_upstream else named
        changes["upstream"] = _upstream(known, chosen["upstream"], config["upstream"], checkpoint)
    config |= {group: config[group] | settings for group, settings in changes.items()}
    # an upstream's checkpoint may be in the run, which is not there yet
    check(config, groups=tuple(group for group in chosen if group != "upstream" or not known))
    del config["data"]
    return config | {"run_name": run.name, "run_id": run.name, "output_root": str(run.parent)}


def _upstream(known: S3prlUpstream, option: str, node: Mapping[str, Any], checkpoint: str | None) -> dict[str, Any]:
    """What changes in the settings of the upstream's option, `node`."""
    if checkpoint in (None, OWN_CHECKPOINT):
        raise ValueError(
            "the weights do not hold the upstream, and its name says no checkpoint either: give --upstream, an option of "
            "conf/upstream, or --upstream-checkpoint, a folder or an id on the hub"
        )
    if node["_target_"] not in (HUGGING_FACE, S3PRL):
        raise ValueError(
            f"--upstream {option} is no {known.model_type} model, as the upstream of this one is: give the option of "
            "conf/upstream with the weights that it was trained on"
        )
    return {"_target_": S3PRL, "checkpoint": checkpoint, "kind": known.kind}


def _fill_folder(
    folder: Path,
    config: Mapping[str, Any],
    tokens: Sequence[str],
    translation: Translation,
    tensors: Mapping[str, Tensor],
    *,
    like: str | None,
) -> None:
    """All that `build.load_recogniser` asks for; `folder` will have the name that `config` knows."""
    here = dict(config) | {"trainer": config["trainer"] | {"device": "cpu"}}
    weights = upstream_weights(tensors)
    if translation.upstream and weights:
        own = folder / build.UPSTREAM
        write_upstream(own, weights, known=translation.upstream, like=like)
        here["upstream"] = config["upstream"] | {"checkpoint": str(own)}
    vocabulary = Vocabulary(tokens)
    recogniser = build.build_recogniser(here, vocabulary=vocabulary)
    fill(recogniser.model, tensors, encoder=translation.encoder)
    save_weights(trained_tensors(recogniser.model), folder / MODEL_FILE)
    vocabulary.save(folder / build.TOKENS_FILE)
    write_json(folder / f"{build.TOKENS}.json", vocabulary.record())
    write_json(folder / f"{build.UPSTREAM}.json", build.upstream_record(recogniser))
    Progress().save(folder / PROGRESS_FILE)  # none of ours
    write_atomic(folder / "config.yaml", [yaml.safe_dump(dict(config), allow_unicode=True, sort_keys=False)])
