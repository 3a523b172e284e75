"""ASR models of transformers that judge speech: CTC models and Whisper. Letters: B utterances, T samples, F frames, S tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from mlsuperb.runtime.messages import one_line, some
from mlsuperb.types import SAMPLE_RATE_HZ
from mlsuperb.upstreams.sources import hash_files, local_folder, refuse_adapter

_REMEDY = (
    "Give the id of a model on the Hugging Face hub (owner/name) or a folder written by save_pretrained, with the files of its "
    "tokenizer and feature extractor; on a machine without network fetch it elsewhere with `hf download <owner/name>`."
)
_SUPPORTED = "CTC models (AutoModelForCTC: wav2vec 2.0, HuBERT, WavLM, MMS, ...) and Whisper"
# ISO 639-3 -> Whisper's code, where it is not the language's code of ISO 639-1: members of macrolanguages, and Javanese
_WHISPER_CODES = {
    "cmn": "zh", "jav": "jw", "org_jpn": "ja", "nob": "no", "swh": "sw", "arb": "ar", "zlm": "ms", "zsm": "ms", "pes": "fa",
    "ekk": "et", "lvs": "lv", "uzn": "uz", "npi": "ne", "khk": "mn", "plt": "mg", "azj": "az", "als": "sq", "pbt": "ps",
    "ydd": "yi", "fil": "tl",
}  # fmt: skip
_MULTILINGUAL = (
    51_865  # least size of the vocabulary of a Whisper that knows languages (openai/whisper, `is_multilingual`)
)
_MAX_TOKENS = 440  # of a transcript, beside the prompt: Whisper's decoder has 448 positions


class Recogniser(Protocol):
    """An ASR model. `record` says which one it is; `batch_size` is how many utterances it takes at most at a time."""

    record: Mapping[str, Any]
    batch_size: int

    def problem(self, language: str) -> str | None:
        """Why it cannot transcribe a language (ISO 639-3), else None."""
        ...

    def texts(self, waves: Sequence[np.ndarray], *, language: str) -> list[str]:
        """The greedy transcript of each wave (T,), float32 at 16 kHz. What else is in the call makes no difference."""
        ...


class _UnfitError(ValueError):
    """A model that was read, and cannot judge."""


def load_recogniser(checkpoint: str, *, revision: str = "main", batch_size: int, device: torch.device) -> Recogniser:
    """The ASR model in a checkpoint of transformers.

    Raises:
        ValueError: it cannot be read, lacks weights, holds a LoRA adapter, too, or is no CTC model and no Whisper.
    """
    folder = local_folder(checkpoint)
    if folder is None or folder.is_dir():
        refuse_adapter(folder or checkpoint, revision, setting="--asr")
    try:
        config, *parts = _read(checkpoint, pretrained_model_name_or_path=str(folder or checkpoint), revision=revision)
    except _UnfitError:
        raise
    except OSError as error:
        raise ValueError(f"--asr {checkpoint} could not be read: {one_line(error)} {_REMEDY}") from error
    except Exception as error:  # there is no end to what transformers raises at files that cannot be
        raise ValueError(
            f"--asr {checkpoint} could not be read ({type(error).__name__}: {one_line(error)[:300]}). {_REMEDY}"
        ) from error
    record = {"checkpoint": checkpoint, "revision": None if folder else revision, "model_type": config.model_type}
    record |= {"commit": getattr(config, "_commit_hash", None), "sha256": _hashes(folder) if folder else None}
    kind = Whisper if config.model_type == "whisper" else Ctc
    parts[0].eval().to(device)
    return kind(*parts, record=record | {"decoding": "greedy"}, batch_size=batch_size)


def _read(checkpoint: str, **given: Any) -> tuple[Any, Any, Any, Any]:
    """Configuration, model, feature extractor and tokenizer."""
    from transformers import AutoConfig, AutoFeatureExtractor, AutoTokenizer
    from transformers.models.auto.modeling_auto import MODEL_FOR_CTC_MAPPING

    given["trust_remote_code"] = False
    config = AutoConfig.from_pretrained(**given)
    kind = MODEL_FOR_CTC_MAPPING.get(type(config), None)
    # without the method nothing tells which frames are padding (transformers' Parakeet, LASR)
    if config.model_type != "whisper" and not hasattr(kind, "_get_feat_extract_output_lengths"):
        raise _UnfitError(
            f"--asr {checkpoint} is a model of type {config.model_type!r}; a judge can be one of {_SUPPORTED}."
        )
    # others are packages, or code of a hub
    if getattr(config, "_attn_implementation", None) not in (None, "eager", "sdpa"):
        given["attn_implementation"] = "eager"
    model = _model(given, whisper=config.model_type == "whisper")
    given.pop("attn_implementation", None)
    return config, model, AutoFeatureExtractor.from_pretrained(**given), AutoTokenizer.from_pretrained(**given)


def _hashes(folder: Path) -> dict[str, str]:
    """sha256 of the weights, those of languages (MMS) included."""
    kinds = (("model*.safetensors", "pytorch_model*.bin"), ("adapter.*.safetensors",), ("adapter.*.bin",))
    return {name: digest for patterns in kinds for name, digest in hash_files(folder, *patterns).items()}


def _model(given: Mapping[str, Any], *, whisper: bool) -> Any:
    from transformers import AutoModelForCTC, AutoModelForSpeechSeq2Seq

    kind: Any = AutoModelForSpeechSeq2Seq if whisper else AutoModelForCTC
    model, info = kind.from_pretrained(**given, dtype=torch.float32, weights_only=True, output_loading_info=True)
    if missing := sorted(info["missing_keys"]):
        raise _UnfitError(
            f"--asr {given['pretrained_model_name_or_path']} lacks {len(missing)} weights ({some(missing)}), which would be "
            "random: it was not trained for ASR, or is cut short. Give a checkpoint that was."
        )
    return model


class _Model:
    """What both kinds keep: a model of transformers with its feature extractor and tokenizer."""

    def __init__(
        self, model: Any, features: Any, tokenizer: Any, *, record: Mapping[str, Any], batch_size: int
    ) -> None:
        self.model, self.features, self.tokenizer = model, features, tokenizer
        self.record, self.batch_size = record, batch_size

    def _inputs(self, waves: Sequence[np.ndarray], **options: Any) -> Any:
        inputs = self.features(list(waves), sampling_rate=SAMPLE_RATE_HZ, return_tensors="pt", **options)
        return inputs.to(self.model.device)


class Ctc(_Model):
    """A CTC model: the most likely token of every frame, repetitions and blanks removed by its tokenizer. Of a model with an
    adapter for each language (MMS), that of the language is loaded; other models take no notice of the language."""

    _loaded = ""

    def __init__(self, *parts: Any, record: Mapping[str, Any], batch_size: int) -> None:
        super().__init__(*parts, record=record, batch_size=batch_size)
        if not getattr(self.features, "return_attention_mask", False):
            self.batch_size = 1  # such a model does not tell padding from speech

    @property
    def _has_adapters(self) -> bool:
        return getattr(self.model.config, "adapter_attn_dim", None) is not None

    def problem(self, language: str) -> str | None:
        if not self._has_adapters or language in (known := self.tokenizer.vocab):
            return None
        return f"it has no adapter for {language}; it has {some(sorted(known), at_most=20)}"

    @torch.inference_mode()
    def texts(self, waves: Sequence[np.ndarray], *, language: str) -> list[str]:
        if self._has_adapters and self._loaded != language:
            self.tokenizer.set_target_lang(language)
            self.model.load_adapter(language)
            self._loaded = language
        inputs = self._inputs(waves, padding=True)
        tokens_BF = self.model(**inputs).logits.argmax(-1)
        if "input_features" in inputs:  # log-mels, already frames
            lengths_B = inputs["attention_mask"].sum(-1)
        else:
            lengths_B = torch.tensor([len(wave_T) for wave_T in waves])
        frames_B = self.model._get_feat_extract_output_lengths(lengths_B)
        rows = [row_F[:frames] for row_F, frames in zip(tokens_BF.tolist(), frames_B.tolist(), strict=True)]
        return [self.tokenizer.decode(row_F) for row_F in rows]


class Whisper(_Model):
    """A Whisper whose decoder is given the language: greedy, without timestamps and without its fall-backs to sampling. Audio
    of more than 30 s is cut into equal parts of at most 30 s, which are transcribed one by one."""

    def problem(self, language: str) -> str | None:
        if not self._multilingual:
            return None if language == "eng" else "it is a Whisper for English alone"
        if self._token(language) in self._language_tokens:
            return None
        known = sorted(token.strip("<|>") for token in self._language_tokens)
        return f"it has no token {self._token(language)}; its languages are {', '.join(known)}"

    @torch.inference_mode()
    def texts(self, waves: Sequence[np.ndarray], *, language: str) -> list[str]:
        from transformers import GenerationMixin

        longest = self.features.n_samples
        parts = [np.array_split(wave_T, -(-len(wave_T) // longest)) for wave_T in waves]
        pieces = [piece_T for part in parts for piece_T in part]
        prompt_S = torch.tensor(self._prompt(language), device=self.model.device)
        texts: list[str] = []
        for first in range(0, len(pieces), self.batch_size):
            mels_BKF = self._inputs(pieces[first : first + self.batch_size])["input_features"]
            prompt_BS = prompt_S.expand(len(mels_BKF), -1)
            tokens_BS = (
                GenerationMixin.generate(  # Whisper's own `generate` needs a table of languages in generation_config
                    self.model,
                    inputs=mels_BKF,
                    attention_mask=torch.ones_like(mels_BKF[:, 0], dtype=torch.long),  # all 30 s, as in training
                    decoder_input_ids=prompt_BS,
                    decoder_attention_mask=torch.ones_like(prompt_BS),
                    pad_token_id=self.tokenizer.eos_token_id,
                    max_new_tokens=_MAX_TOKENS,
                    do_sample=False,
                    num_beams=1,
                )
            )
            texts += self.tokenizer.batch_decode(tokens_BS[:, len(prompt_S) :], skip_special_tokens=True)
        spoken = iter(texts)
        return [" ".join(next(spoken).strip() for _ in part) for part in parts]

    @property
    def _multilingual(self) -> bool:
        return bool(self.model.config.vocab_size >= _MULTILINGUAL)

    @cached_property
    def _language_tokens(self) -> set[str]:
        from transformers.models.whisper.tokenization_whisper import LANGUAGES

        return {f"<|{code}|>" for code in LANGUAGES} & set(self.tokenizer.get_vocab())

    @staticmethod
    def _token(language: str) -> str:
        from pycountry import languages

        found = languages.get(alpha_3=language)
        return f"<|{_WHISPER_CODES.get(language) or getattr(found, 'alpha_2', language)}|>"

    def _prompt(self, language: str) -> list[int]:
        chosen = (self._token(language), "<|transcribe|>") if self._multilingual else ()
        ids = self.tokenizer.convert_tokens_to_ids([*chosen, "<|notimestamps|>"])
        return [self.model.generation_config.decoder_start_token_id, *ids]
