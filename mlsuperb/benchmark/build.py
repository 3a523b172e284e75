"""From a plain configuration to objects. Sizes flow from part to part here; nobody types one."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mlsuperb.benchmark.data_checks import check_phones, languages_of, warn_of_unknown_tokens
from mlsuperb.benchmark.misfits import other_model
from mlsuperb.benchmark.model import SpeechModel
from mlsuperb.benchmark.recogniser import Recogniser
from mlsuperb.cache.settings import Cache
from mlsuperb.config.build import instantiate
from mlsuperb.data.corpora.base import Corpus
from mlsuperb.data.dataset import Speech, SpeechDataset
from mlsuperb.data.loading import Loading
from mlsuperb.data.manifest import each_record
from mlsuperb.data.skips import SkipReport
from mlsuperb.data.vocabulary import Vocabulary
from mlsuperb.decoding.argmax import Argmax
from mlsuperb.decoding.greedy import Greedy
from mlsuperb.runs.classes import class_named
from mlsuperb.runs.corpus import nothing_left, prepared_corpus, same_training_data, test_rows
from mlsuperb.runs.run import Run
from mlsuperb.runs.store import config_to_build
from mlsuperb.runs.windows import whole_s
from mlsuperb.runtime import ranks
from mlsuperb.runtime.device import choose_device, describe_device, prepare_process
from mlsuperb.runtime.messages import describe_trained
from mlsuperb.runtime.records import json_object
from mlsuperb.tasks.base import Task
from mlsuperb.training.checkpoint import load_trained
from mlsuperb.training.loop import MODEL_FILE
from mlsuperb.training.parameters import count_trained, num_parameters
from mlsuperb.training.progress import PROGRESS_FILE, Progress
from mlsuperb.training.trainer import Trainer
from mlsuperb.types import Utterance
from mlsuperb.upstreams.base import Upstream, same_record

log = logging.getLogger(__name__)

TRAIN, DEV = "train", "dev"
TOKENS, TOKENS_FILE = "tokens", "tokens.txt"  # the record of a vocabulary in a run's folder, and the vocabulary
# the groups that a trained model is built of
BUILT = ("upstream", "adaptation", "featurizer", "specaug", "head", "objective", "task", "decoding", "loading")
EMPTY_AFTER = "empty text after normalisation"
# of a run from before there was a cache
OFF = {"_target_": "mlsuperb.cache.settings.Cache", "dtype": None, "folder": ""}
UPSTREAM = "upstream"  # the file that says which weights were loaded; the folder with them, in an imported run


@dataclass(frozen=True, kw_only=True)
class Data:
    """A prepared corpus, ready to train and test on. `languages`: of the training data. `record` goes into the result: hash, size
    and hours of each split, what was skipped."""

    train: SpeechDataset
    dev: SpeechDataset
    test: SpeechDataset
    vocabulary: Vocabulary
    languages: tuple[str, ...]
    record: dict[str, Any]


def build_corpus(config: Mapping[str, Any]) -> Corpus:
    """The corpus reader of a configuration."""
    corpus: Corpus = instantiate(config["data"])
    return corpus


def read_data(config: Mapping[str, Any]) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The manifest of a configuration's corpus, and its record for the result."""
    prepared, record = prepared_corpus(build_corpus(config), config)
    return prepared.manifest, record


def build_data(config: Mapping[str, Any], *, run: Run) -> Data:
    """Prepare the corpus, count the vocabulary, pin both to the run."""
    corpus = build_corpus(config)
    prepared, record = prepared_corpus(corpus, config)
    manifest = prepared.manifest
    run.pin("data", record["splits"], same=same_training_data(corpus))
    parts = {name: manifest[manifest["split"] == name] for name in (TRAIN, DEV)}
    for name, rows in parts.items():
        if rows.empty:
            raise ValueError(nothing_left(corpus, record, what=f"{name} utterance", splits=[name]))
    parts["test"] = test_rows(corpus, manifest, record=record)
    task: Task = instantiate(config["task"])
    task.check_languages(set(manifest["language"]))
    check_phones(task, corpus, manifest)
    loading: Loading = instantiate(config["loading"])
    for name in (TRAIN, DEV):
        empty = ~parts[name]["text"].map(task.keeps).astype(bool)
        parts[name] = SkipReport(record["skipped"]).drop(parts[name], empty, EMPTY_AFTER)
    specials = class_named(config["objective"]["_target_"]).specials
    vocabulary = Vocabulary.build(_targets(parts[TRAIN], prepared.texts, task), specials=specials)
    warn_of_unknown_tokens(task, vocabulary, parts["test"])
    run.pin(TOKENS, vocabulary.record())
    if ranks.is_main():
        vocabulary.save(run.folder / TOKENS_FILE)
    encode = partial(_token_indices, task=task, vocabulary=vocabulary)
    for name, split in record["splits"].items():
        log.info("%s: %s utterances, %.2f h", name, f"{split['num_utterances']:,}", split["duration_s"] / 3600)
    return Data(
        **{name: loading.dataset(rows, encode=encode, resample=corpus.resample) for name, rows in parts.items()},
        vocabulary=vocabulary,
        languages=languages_of(parts[TRAIN], task),
        record=record,
    )


def _targets(train: pd.DataFrame, texts: Iterable[tuple[str, str, str]], task: Task) -> Iterator[list[str]]:
    """The targets that tokens are counted in: of the training utterances, then of further (language, dataset, text)."""
    one = None
    for one in each_record(train, Utterance):
        yield task.target(one)
    if one is not None:  # else there is nothing to train on
        yield from (task.target(replace(one, language=language, text=text)) for language, _, text in texts)


def _token_indices(utterance: Utterance, *, task: Task, vocabulary: Vocabulary) -> np.ndarray:
    """At module level, so that a worker process can be sent it where processes are not forked."""
    return vocabulary.encode(task.target(utterance))


def build_model(config: Mapping[str, Any], upstream: Upstream | None = None, *, vocab_size: int) -> SpeechModel:
    """Upstream, adapted, and everything on top of it. An `upstream` that is given is adapted in place.

    Raises:
        ValueError: the weights are not of the published model that they are called.
    """
    if upstream is None:
        upstream = instantiate(config["upstream"])
        shape = {"num_layers": upstream.num_layers, "layer_size": upstream.layer_size}
        if problem := other_model(config["upstream"], **shape):
            raise ValueError(problem)
    featurizer = instantiate(config["featurizer"], num_layers=upstream.num_layers, layer_size=upstream.layer_size)
    head = instantiate(config["head"], input_size=featurizer.output_size)
    objective = instantiate(config["objective"], input_size=head.output_size, vocab_size=vocab_size)
    # the adaptation last: what it draws must not change what the others start from, or seeds could not be compared
    trained = instantiate(config["adaptation"]).apply(upstream)
    return SpeechModel(
        upstream,
        trained=trained,
        featurizer=featurizer,
        specaug=instantiate(config["specaug"]),
        head=head,
        objective=objective,
    )


def build_recogniser(
    config: Mapping[str, Any], *, vocabulary: Vocabulary, languages: Collection[str] = ()
) -> Recogniser:
    """The model with its task, vocabulary and decoder, on the device of the configuration; `languages`: those of the data that it
    will be trained on, if it will be."""
    device = prepare_process(choose_device(config["trainer"]["device"]))
    model = build_model(config, vocab_size=len(vocabulary))
    if languages:
        model.objective.begin(languages)
    task: Task = instantiate(config["task"])
    counts = {name: num_parameters(part.parameters()) for name, part in model.named_children()}
    log.info("device %s, precision %s", describe_device(device), config["trainer"]["precision"])
    log.info("parameters: %s", ", ".join(f"{name} {count:,}" for name, count in counts.items() if count))
    log.info("%s", describe_trained(count_trained(model)))
    return Recogniser(
        model=model.to(device).eval(),
        task=task,
        vocabulary=vocabulary,
        decoder=instantiate(config["decoding"]),
        loading=instantiate(config["loading"]),
        device=device,
        precision=config["trainer"]["precision"],
        whole_s=whole_s((config.get("data") or {}).get("max_duration_s")),
    )


def load_config(folder: Path) -> dict[str, Any]:
    """The configuration of a trained run.

    Raises:
        ValueError: the folder holds no training that has ended.
    """
    needed = ("config.yaml", TOKENS_FILE, MODEL_FILE, PROGRESS_FILE, f"{UPSTREAM}.json")
    if missing := [name for name in needed if not (folder / name).is_file()]:
        raise ValueError(
            f"{folder} is not the folder of a trained run: {', '.join(missing)} missing. Give the folder that "
            "`python -m mlsuperb.run` printed, after its training has ended"
        )
    config = config_to_build(folder)
    if (folder / UPSTREAM).is_dir() and isinstance(config.get("upstream"), dict):
        # an imported run brings its upstream along, wherever it was moved
        config["upstream"] = {**config["upstream"], "checkpoint": str(folder / UPSTREAM)}
    return config


def load_recogniser(folder: Path, config: Mapping[str, Any]) -> Recogniser:
    """The trained recogniser of a run folder; `config` is `load_config(folder)`, perhaps with another decoder or device.

    Raises:
        ValueError: the folder has other weights than its settings describe, or upstream or tokens are not what they were.
    """
    vocabulary = Vocabulary.load(folder / TOKENS_FILE)
    pinned = folder / f"{TOKENS}.json"  # which earlier runs do not have
    if pinned.is_file() and json_object(pinned, remedy="Restore a copy of the run") != vocabulary.record():
        raise ValueError(
            f"{folder / TOKENS_FILE} is not the list that the model was trained with ({pinned.name}). Restore a copy of the run"
        )
    recogniser = build_recogniser(config, vocabulary=vocabulary)
    trained_on = json_object(folder / f"{UPSTREAM}.json", remedy="Restore a copy of the run")
    loaded = upstream_record(recogniser)
    if not same_record(trained_on, loaded):
        raise ValueError(
            f"the upstream of {folder} has changed since training ({trained_on} then, {loaded} now), so the trained head no "
            "longer fits it. Restore the checkpoint, or give its commit as upstream.revision in config.yaml"
        )
    load_trained(recogniser.model, folder / MODEL_FILE)
    return recogniser


def upstream_record(recogniser: Recogniser) -> dict[str, Any]:
    """What is held against `upstream.json` when a run is loaded again."""
    record: dict[str, Any] = json.loads(json.dumps(recogniser.model.upstream.record()))
    return record


@contextmanager
def features_kept(config: Mapping[str, Any], one: Recogniser, *datasets: SpeechDataset) -> Iterator[tuple[Speech, ...]]:
    """Inside, the features of the datasets are computed once for each utterance, where the upstream is frozen."""
    cache: Cache = instantiate(config.get("cache", OFF))
    upstream, trained = one.model.upstream, not one.model.frozen
    with cache.opened(
        upstream, config["upstream"], device=one.device, precision=one.precision, trained=trained, datasets=datasets
    ) as speech:
        yield speech


def train(config: Mapping[str, Any], recogniser: Recogniser, *, train: Speech, dev: Speech, run: Run) -> Progress:
    """Train the recogniser's model in the run's folder, and leave it with the averaged weights."""
    trainer: Trainer = instantiate(config["trainer"])
    quick = Argmax() if recogniser.model.objective.utterance_level else Greedy()
    progress = trainer.fit(
        recogniser.model,
        batches=recogniser.loading.training(train, seed=config["seed"]),
        validate=lambda: recogniser.validate(dev, quick_decoder=quick),
        folder=run.folder,
        on_progress=run.status,
        config=config,
        samples=lambda: recogniser.samples,
    )
    if ranks.is_main():
        instantiate(config["adaptation"]).export(recogniser.model.upstream, run.folder)
    return progress
