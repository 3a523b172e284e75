"""`mlsuperb import_espnet FOLDER`: a recogniser trained with ESPnet becomes a run, to transcribe and score with.

FOLDER holds ESPnet's config.yaml, *.pth and tokens, or is a model as ESPnet packs it for a hub (meta.yaml). Whatever in
its configuration changes what is computed and has no counterpart here is refused by name.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from mlsuperb.config.options import check_overrides
from mlsuperb.runs.environment import environment
from mlsuperb.runtime.files import write_atomic, write_json

if TYPE_CHECKING:
    from torch import Tensor

    from mlsuperb.espnet.translate import Translation

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
    from mlsuperb.espnet.folder import choose_weights, open_folder, read_tokens, read_weights
    from mlsuperb.espnet.translate import translate
    from mlsuperb.espnet.weights import check_vocabulary, upstream_weights
    from mlsuperb.upstreams.checkpoint import sha256

    wishes = wishes or Wishes()
    espnet = open_folder(folder)
    weights, tokens = choose_weights(espnet, wishes.weights), read_tokens(espnet)
    translation = translate(espnet.config, tokens)
    tensors = read_weights(weights)
    check_vocabulary(tensors, num_tokens=len(tokens))
    digest = sha256(weights)
    run = wishes.run or Path("exp") / f"imported-{folder.resolve().name}-{digest[:8]}"
    if run.exists():
        raise ValueError(f"{run} is there already: remove it, or give another --run")
    config = _config(run, translation, wishes, has_upstream=bool(upstream_weights(tensors)))
    unfinished = run.with_name(f".{run.name}.tmp")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        _fill_folder(unfinished, config, tokens, translation, tensors, like=wishes.upstream_checkpoint)
        source = {"folder": str(folder), "weights": weights.name, "sha256": digest}
        write_json(unfinished / IMPORT_FILE, source | {"environment": environment()})
        shutil.copyfile(espnet.config_path, unfinished / ESPNET_FILE)
        os.replace(unfinished, run)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return run


def _config(run: Path, translation: Translation, wishes: Wishes, *, has_upstream: bool) -> dict[str, Any]:
    """The settings of the run. Its corpus is not known here; those of training are the defaults, and read by nobody.

    Raises:
        ValueError: the upstream cannot be told, or is not what the user says.
    """
    from mlsuperb.benchmark.build import UPSTREAM
    from mlsuperb.config.check import check
    from mlsuperb.config.compose import compose

    known = translation.upstream
    if not known and (wishes.upstream or wishes.upstream_checkpoint):
        raise ValueError("this model reads log-mels: leave --upstream and --upstream-checkpoint out")
    parts = {name: dict(getattr(translation, name)) for name in ("adaptation", "featurizer", "objective")}
    options = {name: part.pop("option") for name, part in parts.items()}
    upstream = (wishes.upstream or known.option or "hf") if known else "fbank"
    chosen = {
        "upstream": upstream,
        **options,
        "specaug": "none",
        "head": translation.encoder,
        "task": wishes.task or translation.task,
        # of beam 1, as ML-SUPERB decodes (conf/decode_asr.yaml); a decoder asks for its own
        "decoding": "prefix_beam" if options["objective"] == "ctc" else "joint_beam",
    }
    overrides = [f"{group}={option}" for group, option in chosen.items()]
    if messages := check_overrides(overrides):
        raise ValueError("\n".join(messages))
    config = compose([*overrides, *(["upstream.checkpoint=" + OWN_CHECKPOINT] if upstream in ("hf", "s3prl") else [])])
    changes: dict[str, dict[str, Any]] = {
        "upstream": translation.fbank,
        **parts,
        "head": translation.head,
        "task": {"units": translation.units, "normaliser": wishes.normaliser or translation.normaliser},
    }
    if known:
        named = wishes.upstream_checkpoint or known.checkpoint or config["upstream"].get("checkpoint")
        checkpoint = str(run / UPSTREAM) if has_upstream else named
        if checkpoint in (None, OWN_CHECKPOINT):
            raise ValueError(
                "the file of weights holds none of the upstream, whose name says no checkpoint either: give --upstream, an "
                "option of conf/upstream, or --upstream-checkpoint, a folder or an id on the hub"
            )
        if config["upstream"]["_target_"] not in (HUGGING_FACE, S3PRL):
            raise ValueError(
                f"--upstream {upstream} is no {known.model_type} model, as the upstream of this one is: give the option of "
                "conf/upstream with the weights that it was trained on"
            )
        changes["upstream"] = {"_target_": S3PRL, "checkpoint": checkpoint, "kind": known.kind}
    config |= {group: config[group] | settings for group, settings in changes.items()}
    # an upstream's checkpoint may be in the run, which is not there yet
    check(config, groups=tuple(group for group in chosen if group != "upstream" or not known))
    del config["data"]
    return config | {"run_name": run.name, "run_id": run.name, "output_root": str(run.parent)}


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
    from mlsuperb.benchmark import build
    from mlsuperb.data.vocabulary import Vocabulary
    from mlsuperb.espnet.weights import fill, upstream_weights, write_upstream
    from mlsuperb.training.checkpoint import save_weights, trained_tensors
    from mlsuperb.training.loop import MODEL_FILE
    from mlsuperb.training.progress import PROGRESS_FILE, Progress

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
    write_json(folder / f"{build.UPSTREAM}.json", build.upstream_record(recogniser))
    Progress().save(folder / PROGRESS_FILE)  # none of ours
    write_atomic(folder / "config.yaml", [yaml.safe_dump(dict(config), allow_unicode=True, sort_keys=False)])


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="mlsuperb import_espnet",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "folder", type=Path, help="folder of an ESPnet model (exp/asr_..., or as downloaded from a hub)"
    )
    parser.add_argument("--run", type=Path, help="folder to make (default: exp/imported-<name of FOLDER>-<hash>)")
    parser.add_argument(
        "--weights", help="which file, where there are several (default: the average, valid.*.ave*.pth)"
    )
    parser.add_argument(
        "--upstream", help="option of conf/upstream that the model's upstream is (default: by its name)"
    )
    parser.add_argument(
        "--upstream-checkpoint",
        help="folder, or id on the hub, with the upstream's config.json; its weights, too, where ESPnet saved none",
    )
    parser.add_argument("--task", choices=("asr", "asr_lid", "lid"), help="default: as the tokens say")
    parser.add_argument(
        "--normaliser", choices=("v1", "v1_mono", "raw"), help="of the references in the v1 score (default: v1)"
    )
    options = vars(parser.parse_args(arguments))
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        run = import_espnet(options.pop("folder"), Wishes(**options))
    except (ValueError, OSError) as error:
        sys.exit(str(error))
    sys.stdout.write(
        f"{run} is a run now. Transcribe: mlsuperb transcribe {run} FILES; score: mlsuperb evaluate {run} data=...\n"
    )
