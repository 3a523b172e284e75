"""From ESPnet's configuration of a recogniser to ours. What cannot be matched is refused by name, all at once."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from mlsuperb.espnet import settings
from mlsuperb.espnet.keys import EncoderKind
from mlsuperb.espnet.settings import Meaning
from mlsuperb.espnet.upstreams import S3prlUpstream, find_upstream, known_names
from mlsuperb.espnet.whole import ESPNET3, WHOLE

TaskName = Literal["asr", "asr_lid", "lid"]
_SPECIALS = ("<blank>", "<unk>", "<sos/eos>")


@dataclass(kw_only=True)
class Translation:
    """Our settings, by group, where they differ from the defaults of the option; `featurizer`, `objective` and `adaptation` hold
    the option, too.

    Attributes:
        upstream: what is known of it by its name; None for log-mels, whose settings are `fbank`.
        encoder: ESPnet's, and our option of conf/head; `head` has its settings.
        task, units, normaliser: see `mlsuperb.tasks.base.Task`.
        problems: what cannot be matched, a phrase each.
    """

    upstream: S3prlUpstream | None = None
    fbank: dict[str, Any] = field(default_factory=dict)
    featurizer: dict[str, Any] = field(default_factory=dict)
    encoder: EncoderKind = "transformer"
    head: dict[str, Any] = field(default_factory=dict)
    objective: dict[str, Any] = field(default_factory=lambda: {"option": "ctc"})
    adaptation: dict[str, Any] = field(default_factory=lambda: {"option": "frozen"})
    task: TaskName = "asr"
    units: Literal["char", "phoneme"] = "char"
    normaliser: Literal["v1", "v1_mono"] = "v1"
    problems: list[str] = field(default_factory=list)

    def read(self, meaning: Meaning, conf: object, *, group: str) -> dict[str, Any]:
        """Settings under our names; problems are noted."""
        found, problems = meaning.read(conf, group=group)
        self.problems += problems
        return found

    def refuse(self, name: str, value: object, supported: str) -> None:
        self.problems.append(f"{name}={value!r} (supported: {supported})")


def translate(config: Mapping[str, Any], tokens: Sequence[str], *, languages: Collection[str]) -> Translation:
    """Our settings for ESPnet's `config`.

    Args:
        tokens: what the model can emit; `languages`: those of them that name languages.

    Raises:
        ValueError: something in it changes what is computed and has no counterpart here; everything is named.
    """
    found = Translation()
    found.read(ESPNET3 if "task" in config else WHOLE, config, group="config")
    _preprocessing(found, config)
    _frontend(found, config)
    _normalisation_and_projection(found, config)
    _encoder(found, config)
    _objective(found, config)
    _adaptation(found, config)
    _task(found, config, tokens, languages)
    if found.problems:
        listed = "\n".join(f"  {number}. {problem}" for number, problem in enumerate(found.problems, 1))
        raise ValueError(
            f"this ESPnet model cannot be imported: its configuration asks for what has no counterpart here\n{listed}"
        )
    return found


def _preprocessing(found: Translation, config: Mapping[str, Any]) -> None:
    """espnet3 writes the settings of the text to the top level where ESPnet2's own class reads it, once for all splits."""
    found.read(settings.PREPROCESSOR, config.get("preprocessor_conf"), group="preprocessor_conf")
    dataset = config.get("dataset")
    if isinstance(dataset, Mapping) and (own := dataset.get("preprocessor")) is not None:
        found.refuse(
            "dataset.preprocessor",
            own,
            "espnet2.train.preprocessor.CommonPreprocessor, one for all splits. If the model's own does the same, remove it from "
            "config.yaml and write its token_type and token_list at the top level",
        )


def _frontend(found: Translation, config: Mapping[str, Any]) -> None:
    kind, conf = config.get("frontend", "default"), config.get("frontend_conf")
    if kind == "default":
        found.fbank, problems = settings.read_log_mels(conf)
        found.problems += problems
        found.featurizer = {"option": "last_layer"}  # the only one
    elif kind == "s3prl":
        own = found.read(settings.S3PRL, conf, group="frontend_conf")
        if own["layer"] != -1:  # `S3prlFrontend.forward`: one layer if it is given, else all layers or the last
            found.featurizer = {"option": "one_layer", "layer": own["layer"]}
        else:
            found.featurizer = {"option": "weighted_sum" if own["multilayer_feature"] else "last_layer"}
        inner_conf = conf.get("frontend_conf") if isinstance(conf, Mapping) else None
        inner = found.read(settings.S3PRL_UPSTREAM, inner_conf, group="frontend_conf.frontend_conf")
        name = inner["upstream"]
        found.upstream = find_upstream(name, inner["path_or_url"])
        if found.upstream is None and name is not settings.REQUIRED:
            listed = ", ".join(known_names())
            found.refuse("frontend_conf.frontend_conf.upstream", name, f"{listed}; hf_* with path_or_url")
    else:
        found.refuse("frontend", kind, "'default' or 's3prl'")


def _normalisation_and_projection(found: Translation, config: Mapping[str, Any]) -> None:
    normalize = config.get("normalize", "utterance_mvn")
    if normalize == "utterance_mvn":
        read = found.read(settings.UTTERANCE_MVN, config.get("normalize_conf"), group="normalize_conf")
        found.head["input_norm"] = "mean_var" if read["norm_vars"] else "mean"
    elif normalize is None:
        found.head["input_norm"] = "none"
    else:
        found.refuse("normalize", normalize, "'utterance_mvn' or None")
    preencoder = config.get("preencoder")
    if preencoder == "linear":
        read = found.read(settings.LINEAR, config.get("preencoder_conf"), group="preencoder_conf")
        found.head["projection"] = read["output_size"]
    elif preencoder is None:
        found.head["projection"] = None
    else:
        found.refuse("preencoder", preencoder, "'linear' or None")


def _encoder(found: Translation, config: Mapping[str, Any]) -> None:
    kind = config.get("encoder", "rnn")
    if not isinstance(kind, str) or kind not in settings.ENCODERS:
        found.refuse("encoder", kind, ", ".join(map(repr, settings.ENCODERS)))
        return
    found.encoder = kind
    read = found.read(settings.ENCODERS[kind], config.get("encoder_conf"), group="encoder_conf")
    if read["frontend"] not in settings.FRONTENDS:
        found.refuse("encoder_conf.input_layer", read["frontend"], ", ".join(map(repr, settings.FRONTENDS)))
    if "codes" in read:
        given = tuple(read.pop(name) for name in ("codes", "attention", "rel_pos_type"))
        read["positions"] = settings.POSITIONS.get(given)
        if read["positions"] is None:
            kinds = "'rel_pos', 'rel_selfattn', 'latest' or 'abs_pos', 'selfattn'"
            names = "encoder_conf.pos_enc_layer_type, its kind of attention, rel_pos_type"
            found.problems.append(f"{names}={', '.join(map(repr, given))} (supported: {kinds})")
    found.head |= read


def _objective(found: Translation, config: Mapping[str, Any]) -> None:
    ctc = found.read(settings.CTC, config.get("ctc_conf"), group="ctc_conf")
    model = found.read(settings.MODEL, config.get("model_conf"), group="model_conf")
    weight, decoder = model["ctc_weight"], config.get("decoder")
    if weight == 1:  # ESPnet drops the decoder then, whatever it is (`ESPnetASRModel.__init__`)
        found.objective = {"option": "ctc"} | ctc
    elif decoder != "transformer" or not isinstance(weight, float) or not 0 < weight < 1:
        supported = "ctc_weight 1.0, or more than 0 with the decoder 'transformer'"
        found.problems.append(f"model_conf.ctc_weight={weight!r} with decoder={decoder!r} (supported: {supported})")
    else:
        own = found.read(settings.DECODER, config.get("decoder_conf"), group="decoder_conf")
        found.objective = {"option": "ctc_attention"} | model | own | {"ctc_dropout": ctc["dropout"]}


def _adaptation(found: Translation, config: Mapping[str, Any]) -> None:
    """Where ESPnet's adapter stands depends on whose model it is (`espnet2/layers/create_adapter_fn.py`): beside the
    feed-forward network's dropout in s3prl's own, at the end of a block in transformers' with norms first, which has a
    place for one (`adapter_layer`)."""
    if not config.get("use_adapter"):
        return
    kind = config.get("adapter")
    if kind != "houlsby" or found.upstream is None:
        reason = "LoRA does not reach s3prl's attention (ESPnet issue 5721), or reaches it in ways that depend on the version"
        found.refuse("adapter", kind, f"'houlsby' in an upstream of s3prl; {reason}")
        return
    read = found.read(settings.ADAPTER, config.get("adapter_conf"), group="adapter_conf")
    given = read["layers"]
    if not isinstance(given, list) or not all(isinstance(index, int) for index in given):
        found.refuse("adapter_conf.target_layers", given, "a list of whole numbers")
        return
    layers = [index + 1 for index in given] or None  # blocks count from 1 here
    option = "espnet_houlsby" if found.upstream.kind == "own" else "pfeiffer"
    found.adaptation = {"option": option, "width": read["width"], "activation": "gelu", "layers": layers}


def _task(found: Translation, config: Mapping[str, Any], tokens: Sequence[str], languages: Collection[str]) -> None:
    """What the model was trained to write, as its tokens show it."""
    if tuple(tokens[:1]) + tuple(tokens[-1:]) != ("<blank>", "<sos/eos>"):
        found.problems.append(
            f"token_list begins with {tokens[:1]} and ends with {tokens[-1:]} (not <blank>, <sos/eos>)"
        )
    written = [token for token in tokens if token not in _SPECIALS]
    if languages and len(languages) == len(written):
        found.task = "lid"
    elif config.get("token_type", "bpe") == "word":
        # ML-SUPERB's phonemes of monolingual jpn and cmn (`run_mono.sh`), which stand apart in an output
        found.units, found.normaliser = "phoneme", "v1_mono"
        if languages:
            found.problems.append("token_type='word' with language tokens among others (supported: char)")
    else:
        found.task = "asr_lid" if languages else "asr"
