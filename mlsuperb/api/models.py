"""Trained models and upstreams for Python programs. Letters: L layers, D feature size, T samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from mlsuperb.api.audio import one_or_all
from mlsuperb.api.records import Layers, Posteriors, Transcript

if TYPE_CHECKING:
    import torch

    from mlsuperb.benchmark.recogniser import Recogniser
    from mlsuperb.cache.codec import DType
    from mlsuperb.cache.settings import Cache
    from mlsuperb.data.dataset import Speech, SpeechDataset
    from mlsuperb.data.loading import Loading
    from mlsuperb.runs.decoding import Transcriber
    from mlsuperb.upstreams.base import Upstream

    Audio = str | Path | np.ndarray | torch.Tensor  # a file, or a wave (T,)


def load(run: str | Path, *, device: str = "auto", config_dirs: Sequence[str | Path] = ()) -> Model:
    """A trained model.

    Args:
        run: folder of a finished run or of `mlsuperb export hub`; or an id on the hub, OWNER/NAME or OWNER/NAME@REVISION.
        device: auto (a GPU, if there is one), cpu, cuda, cuda:1, ...
        config_dirs: folders with your own YAML files, where the run was made with classes of your own.

    Raises:
        ValueError: there is no trained model, or it is not what its settings say.
    """
    from mlsuperb.config.build import job_of
    from mlsuperb.runs.classes import bring, named_in_files
    from mlsuperb.runs.hub import run_folder
    from mlsuperb.runs.store import config_to_build

    for one in config_dirs:
        bring(named_in_files(Path(one)))
    folder = run_folder(run)
    config = config_to_build(folder)
    return Model(folder, str(config["job"]["name"]), job_of(config).load(folder, device=device))


class Model:
    """A trained model, as `mlsuperb.load` returns it.

    `audio` is a file (any rate and format that libsndfile reads) or a wave: one channel as an array or a tensor (T,) of floats in
    [-1, 1] with `rate`, its samples per second. A list of these gives a list.
    """

    def __init__(self, folder: Path, job: str, transcriber: Transcriber) -> None:
        self.folder, self._job, self._transcriber = folder, job, transcriber

    def __repr__(self) -> str:
        return f"mlsuperb.load({str(self.folder)!r})"

    @overload
    def features(self, audio: Audio, *, rate: int | None = None) -> Layers: ...
    @overload
    def features(self, audio: list[Any], *, rate: int | None = None) -> list[Layers]: ...
    def features(self, audio: Any, *, rate: int | None = None) -> Layers | list[Layers]:
        """All layers of the model's upstream, as it was adapted.

        Raises:
            ValueError: audio that cannot be read, or a model of job=translation, which has no upstream.
        """
        one = self._recogniser("features of its upstream: mlsuperb.upstream has those of encoders")

        def compute(paths: list[Path]) -> list[Layers]:
            from mlsuperb.api.computing import layers

            return layers(paths, one.model.upstream, one.loading, device=one.device, precision=one.precision)

        return one_or_all(audio, rate, compute)

    @overload
    def posteriors(self, audio: Audio, *, rate: int | None = None) -> Posteriors: ...
    @overload
    def posteriors(self, audio: list[Any], *, rate: int | None = None) -> list[Posteriors]: ...
    def posteriors(self, audio: Any, *, rate: int | None = None) -> Posteriors | list[Posteriors]:
        """The probability of each token in each frame of the head's output; of CTC, `<blank>` among them.

        Raises:
            ValueError: audio that cannot be read, or a model of job=translation, which writes token by token.
        """
        one = self._recogniser("posteriors by frame, it writes one token after the other")

        def compute(paths: list[Path]) -> list[Posteriors]:
            from mlsuperb.api.computing import posteriors

            return posteriors(paths, one)

        return one_or_all(audio, rate, compute)

    @overload
    def transcribe(self, audio: Audio, *, rate: int | None = None, language: str | None = None) -> Transcript: ...
    @overload
    def transcribe(
        self, audio: list[Any], *, rate: int | None = None, language: str | None = None
    ) -> list[Transcript]: ...
    def transcribe(
        self, audio: Any, *, rate: int | None = None, language: str | None = None
    ) -> Transcript | list[Transcript]:
        """Text, language and times of words; an hour of speech, too.

        Args:
            language: ISO 639-3 code of what is written, for a model that is told it (job=translation); it stays.

        Raises:
            ValueError: audio that cannot be read, all of it being named, or a language that the model does not have.
        """
        from mlsuperb.runs.transcription import transcribe_files

        if language is not None:
            self._transcriber.write_in(language)

        def texts(paths: list[Path]) -> list[Transcript]:
            found = transcribe_files(paths, lambda: self._transcriber)
            return [Transcript(one.text, one.predicted_language, one.languages, one.words) for one in found]

        return one_or_all(audio, rate, texts)

    def _recogniser(self, what: str) -> Recogniser:
        from mlsuperb.benchmark.recogniser import Recogniser

        if not isinstance(self._transcriber, Recogniser):
            raise ValueError(f"{self.folder} is a run of job={self._job}, whose model has no {what}")
        return self._transcriber


def upstream(
    name: str,
    *,
    cache: str | Path | None = None,
    dtype: DType = "fp32",
    device: str = "auto",
    **settings: Any,
) -> FrozenUpstream:
    """An upstream with its published weights, to compute features.

    Args:
        name: an option of `conf/upstream`: `hubert_base`, `mhubert_147`, `fbank`; `hf` for any checkpoint.
        cache: folder in which features are kept, the same that runs keep theirs in (`cache.folder`); None: they are computed
            each time.
        dtype: in which they are kept there (`mlsuperb.cache.codec`): fp32, int16, bf16 or int8.
        device: auto (a GPU, if there is one), cpu, cuda, cuda:1, ...
        settings: of the upstream: `checkpoint="facebook/hubert-base-ls960", revision="main"`.

    Raises:
        ValueError: there is no such upstream or setting, with the nearest that there is, or its weights cannot be had.
    """
    from mlsuperb.cache.settings import Cache
    from mlsuperb.config.build import instantiate
    from mlsuperb.config.check import check
    from mlsuperb.config.compose import compose
    from mlsuperb.config.options import refuse_unknown
    from mlsuperb.runtime.device import choose_device, prepare_process

    given = {key: str(value) if isinstance(value, Path) else value for key, value in settings.items()}
    refuse_unknown([f"upstream={name}", *(f"upstream.{key}=" for key in given)])
    config = compose([f"upstream={name}"])
    config["upstream"] |= given
    check(config, ["upstream"])
    made: Upstream = instantiate(config["upstream"])
    kept = None if cache is None else Cache(dtype=dtype, folder=str(cache))
    on = prepare_process(choose_device(device, setting="device"))
    return FrozenUpstream(
        made.requires_grad_(False).eval().to(on), config["upstream"], instantiate(config["loading"]), kept, on
    )


class FrozenUpstream:
    """An upstream of which nothing is trained, as `mlsuperb.upstream` returns it."""

    def __init__(
        self, model: Upstream, settings: Mapping[str, Any], loading: Loading, cache: Cache | None, device: torch.device
    ) -> None:
        self.model, self.settings = model, dict(settings)
        self._loading, self._cache, self._device = loading, cache, device

    def __repr__(self) -> str:
        return f"{self.settings['name']}: {self.num_layers} layers of {self.layer_size}, {self.frame_rate_hz:g} frames per second"

    @property
    def num_layers(self) -> int:
        """L."""
        return self.model.num_layers

    @property
    def layer_size(self) -> int:
        """D."""
        return self.model.layer_size

    @property
    def frame_rate_hz(self) -> float:
        """Frames per second."""
        return self.model.frame_rate_hz

    @overload
    def features(self, audio: Audio, *, rate: int | None = None) -> Layers: ...
    @overload
    def features(self, audio: list[Any], *, rate: int | None = None) -> list[Layers]: ...
    def features(self, audio: Any, *, rate: int | None = None) -> Layers | list[Layers]:
        """All layers of audio (see `Model`); many files in one call are faster than each by itself.

        Raises:
            ValueError: audio that cannot be read, all of it being named.
        """

        def compute(paths: list[Path]) -> list[Layers]:
            from mlsuperb.api.computing import layers

            kept = {} if self._cache is None else {"kept": self._kept}
            return layers(paths, self.model, self._loading, device=self._device, precision="fp32", **kept)

        return one_or_all(audio, rate, compute)

    @contextmanager
    def _kept(self, dataset: SpeechDataset) -> Iterator[Speech]:
        assert self._cache is not None
        with self._cache.opened(
            self.model, self.settings, device=self._device, precision="fp32", trained=False, datasets=[dataset]
        ) as (speech,):
            yield speech
