"""Names and defaults of ESPnet's settings, as its constructors and its parser have them, beside those that the import knows."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

from mlsuperb.espnet import settings
from mlsuperb.espnet.settings import REQUIRED, Meaning
from mlsuperb.espnet.whole import WHOLE
from scripts.parity.imports import import_espnet_tasks
from scripts.parity.report import Check

# What the parts are given by the code around them, not by the configuration
FROM_THE_MODEL = {"self", "model", "input_size", "vocab_size", "encoder_output_size", "odim", "pos_enc_class"}


def settings_checks() -> Iterator[Check]:
    """Every class that an imported model is made of, and the whole configuration."""
    import_espnet_tasks()
    from espnet2.asr.ctc import CTC as EspnetCTC  # noqa: N811
    from espnet2.asr.decoder.transformer_decoder import TransformerDecoder
    from espnet2.asr.espnet_model import ESPnetASRModel
    from espnet2.asr.frontend.default import DefaultFrontend
    from espnet2.asr.frontend.s3prl import S3prlFrontend
    from espnet2.asr.preencoder.linear import LinearProjection
    from espnet2.layers.create_adapter_fn import create_houlsby_adapter
    from espnet2.layers.utterance_mvn import UtteranceMVN
    from espnet2.tasks.asr import ASRTask, encoder_choices
    from espnet2.train.preprocessor import CommonPreprocessor

    parts: dict[str, tuple[Meaning, Callable[..., Any]]] = {
        f"encoder_conf of {kind}": (meaning, encoder_choices.get_class(kind))
        for kind, meaning in settings.ENCODERS.items()
    }
    parts |= {
        "decoder_conf of transformer": (settings.DECODER, TransformerDecoder),
        "frontend_conf of default": (settings.FBANK, DefaultFrontend),
        "frontend_conf of s3prl": (settings.S3PRL, S3prlFrontend),
        "normalize_conf of utterance_mvn": (settings.UTTERANCE_MVN, UtteranceMVN),
        "preencoder_conf of linear": (settings.LINEAR, LinearProjection),
        "adapter_conf of houlsby": (settings.ADAPTER, create_houlsby_adapter),
        "ctc_conf": (settings.CTC, EspnetCTC),
    }
    for title, (meaning, made) in parts.items():
        yield _same(title, meaning, {name: one.default for name, one in inspect.signature(made).parameters.items()})
    model = {name: one.default for name, one in inspect.signature(ESPnetASRModel).parameters.items()}
    given = {name: value for name, value in model.items() if value is not inspect.Parameter.empty}
    yield _same("model_conf", settings.MODEL, given)
    text = {name: one.default for name, one in inspect.signature(CommonPreprocessor).parameters.items()}
    around = {*WHOLE.fixed, *WHOLE.ignored, "train", "text_cleaner", "g2p_type", "aux_task_names"}  # given by the task
    yield _same("preprocessor_conf", settings.PREPROCESSOR, {name: text[name] for name in text.keys() - around})
    parsed = vars(ASRTask.get_parser().parse_args(["--output_dir", ".", "--token_type", "char"]))
    yield _same("the whole configuration", WHOLE, parsed)


def _same(title: str, meaning: Meaning, theirs: dict[str, Any]) -> Check:
    """Whether `meaning` knows every setting of ESPnet's, and what it is where nothing is said."""
    known = {*meaning.renamed, *meaning.fixed, *meaning.ignored}
    theirs = {name: value for name, value in theirs.items() if name not in FROM_THE_MODEL}
    unknown = sorted(theirs.keys() - known)
    ours = dict(meaning.unsaid) | {name: default for name, (_, default) in meaning.renamed.items()}
    other = [
        f"{name}={value!r}"
        for name, value in theirs.items()
        if (name in ours and not _equal(ours[name], value))
        or (name in meaning.fixed and name not in ours and value not in meaning.fixed[name])
    ]
    found = f"{len(theirs)} settings; unknown: {', '.join(unknown) or 'none'}; of another default: {', '.join(other) or 'none'}"
    return Check(f"settings: {title}", found, not unknown and not other)


def _equal(ours: object, theirs: object) -> bool:
    return theirs is inspect.Parameter.empty if ours is REQUIRED else ours == theirs
