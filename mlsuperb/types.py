"""Records that travel between the parts.

Letters in tensor names: B batch, T samples, F frames, L layers, D upstream feature size, H encoded size,
S target length, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:  # scoring reads this module and must not import torch
    from typing import Self

    import torch
    from torch import Tensor

SAMPLE_RATE_HZ = 16_000  # of every wave that a model reads
BLANK = 0  # the index of CTC's blank in a vocabulary, and in posteriors
IGNORED = -1  # the index of a token or class unknown to a vocabulary that has no `<unk>`; losses skip it


@dataclass(frozen=True, kw_only=True)
class Utterance:
    """One row of a manifest of speech.

    `audio` is a path; the utterance is `duration_s` seconds of it from `start_s` on. `text` is the transcript as the
    corpus has it (empty where there is none). `language` is an ISO 639-3 code (or a benchmark's own label such as
    `org_jpn`), `split` one of `train`, `dev`, `test`, `dev_dialect`. `speaker` may be empty.
    """

    few_values: ClassVar[tuple[str, ...]] = ("language", "dataset", "split", "speaker")  # columns whose values repeat
    # what a split's hash is of
    identity: ClassVar[tuple[str, ...]] = ("id", "dataset", "language", "duration_s", "text")

    id: str
    audio: str
    start_s: float
    duration_s: float
    text: str
    language: str
    dataset: str
    split: str
    speaker: str = ""


@dataclass(frozen=True, kw_only=True)
class TextPair:
    """One row of a manifest of parallel text: a sentence and its translation, as the corpus has them.

    Languages and `split` are as in `Utterance`. `quality` is the corpus' own score of the pair (such as the margin that
    mined corpora come with), 0 where it has none.
    """

    few_values: ClassVar[tuple[str, ...]] = ("source_language", "target_language", "dataset", "split")
    identity: ClassVar[tuple[str, ...]] = ("id", "dataset", "source_language", "target_language", "source", "target")

    id: str
    source: str
    target: str
    source_language: str
    target_language: str
    dataset: str
    split: str
    quality: float = 0.0


@dataclass(frozen=True)
class Tensors:
    """A dataclass that holds tensors, also in tuples and in other such records."""

    def each_tensor(self, change: Callable[[Tensor], Tensor]) -> Self:
        """The same with every tensor changed."""

        def changed(value: Any) -> Any:
            if isinstance(value, Tensors):
                return value.each_tensor(change)
            if isinstance(value, tuple):
                return tuple(map(changed, value))
            return change(value) if hasattr(value, "ndim") else value

        return replace(self, **{field.name: changed(getattr(self, field.name)) for field in fields(self)})

    def to(self, device: torch.device | str) -> Self:
        """The same with every tensor on `device`."""
        return self.each_tensor(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Self:
        """The same in page-locked memory, from which it is copied to a GPU while the GPU works."""
        return self.each_tensor(lambda tensor: tensor.pin_memory())


@dataclass(frozen=True, kw_only=True)
class Batch(Tensors):
    """What a model sees: `wave_BT` float32 at 16 kHz, zero-padded to the longest; `lengths_B` valid samples;
    `targets_BS` token indices, zero-padded; `target_lengths_B` valid tokens. Where the layers of a frozen upstream are known
    already, `features` holds them and the wave is not looked at. `share`: how much of a batch this is, if it is dealt out
    among several processes (by utterances). `audio_s`: seconds of speech in it; of `cached_s` of them the features were known
    before. It is a batch as the training loop knows it (`mlsuperb.training.trainable.Batch`)."""

    ids: tuple[str, ...]
    languages: tuple[str, ...]
    wave_BT: Tensor
    lengths_B: Tensor
    targets_BS: Tensor
    target_lengths_B: Tensor
    features: Features | None = None
    share: float = 1.0
    audio_s: float = 0.0
    cached_s: float = 0.0

    @property
    def amount(self) -> float:
        """Seconds of audio: what the speed of a training is counted in."""
        return self.audio_s

    def describe(self) -> str:
        """Its size, for errors of memory."""
        longest_s = self.wave_BT.shape[1] / SAMPLE_RATE_HZ
        if self.features is not None:
            longest_s = self.features.layers[0].shape[1] / self.features.frame_rate_hz
        num = len(self.ids)
        return f"{num} utterances, the longest of {longest_s:.1f} s ({num * longest_s:.0f} s with padding)"


@dataclass(frozen=True)
class Features(Tensors):
    """All layers of an upstream: `layers` holds L tensors (B, F, D), or is one tensor (L, B, F, D); zero beyond `lengths_B`
    frames."""

    layers: tuple[Tensor, ...] | Tensor
    lengths_B: Tensor
    frame_rate_hz: float


@dataclass(frozen=True)
class Encoded:
    """One stream with its lengths: a head's output `values` (B, F, H), or an objective's log posteriors (B, F, V). `inner`: what
    came out of blocks of the head that were asked for (`Taps`), (B, F, H) each, normalised as the output is."""

    values: Tensor
    lengths_B: Tensor
    inner: Mapping[int, Tensor] = field(default_factory=dict)


class Taps(Protocol):
    """An objective that reads, and may change, the stream of a head behind some of its blocks (numbers from 1)."""

    @property
    def blocks(self) -> Collection[int]: ...

    def conditioning(self, normed_BFH: Tensor) -> Tensor | None:
        """What is added to the stream behind such a block, (B, F, H), from what came out of it, normalised; None: nothing."""
        ...


@dataclass(frozen=True)
class Loss:
    """What a model or an objective returns for a batch, all of it scalar tensors, so that nothing waits for the device.

    Args:
        loss: to minimise.
        counts: numbers to report, added up over the training.
        weight: what the loss is a mean over (masked frames, tokens). Where a batch is dealt out among several processes, the
            losses of its parts count by their weights, so that the loss is the mean over the whole batch; without a weight
            they count by examples (`Batch.share`).
        rates: name -> (sum, of how many): curves, and figures of each epoch.
    """

    loss: Tensor
    counts: dict[str, Tensor] = field(default_factory=dict)
    weight: Tensor | None = None
    rates: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TaskFacts:
    """What scores and tables have to know of a task; it travels with the result, so that nobody asks for a task's name.

    Args:
        name: for people.
        has_text: whether its outputs hold a transcript.
        has_language: whether they name a language.
        units: what a transcript is compared in: `char`, `phoneme`, `phone`.
        unit_name: the error rate in these units, as tables call it: `CER`, `PER`.
        normaliser: of the reference transcripts (`mlsuperb.data.text`).
    """

    name: str
    has_text: bool
    has_language: bool
    units: str = "char"
    unit_name: str = "CER"
    normaliser: str = "v1"

    @property
    def unit(self) -> str:
        """One of its units, in words: `character`, `phoneme`, `phone`."""
        return "character" if self.units == "char" else self.units


def figure_names(*, has_language: bool, rates: Iterable[str]) -> tuple[str, ...]:
    """What a validation measures, lower is better for each: of a task that names languages or not, with an objective that
    counts `rates` itself."""
    lid = ("valid_lid_error_rate",) if has_language else ()
    return ("valid_loss", "valid_token_error_rate", *lid, *(f"valid_{name}_error_rate" for name in rates))


class NextTokens(Protocol):
    """What an attention decoder says of K equally long hypotheses of each of B utterances: `log_probs_BKV`, the log
    probabilities in fp32 of the next token, `<sos/eos>` (V - 1) for the end of the text."""

    @property
    def log_probs_BKV(self) -> Tensor: ...  # noqa: N802 (a shape)

    def extend(self, *, parents_BK: Tensor, tokens_BK: Tensor) -> NextTokens:
        """The hypotheses at `parents_BK`, each with one more token."""
        ...

    def select(self, kept_B: Tensor) -> NextTokens:
        """The utterances where `kept_B` is true."""
        ...


class AttentionDecoder(Protocol):
    """An objective's attention decoder, with the utterances of a batch that it attends to."""

    def start(self, rows_B: Tensor, *, num: int) -> NextTokens:
        """`num` empty hypotheses of each of the utterances at `rows_B`."""
        ...


@dataclass(frozen=True, kw_only=True)
class Hypothesis:
    """One line of `hypotheses.jsonl`. `reference` is the transcript as the corpus has it; `hypothesis` is the raw output
    with its language token, if the model emits one (`[eng] HELLO`). Both stay raw so that every protocol can normalise
    them its own way. `predicted_language` is a code without brackets, or None."""

    id: str
    dataset: str
    language: str
    split: str
    audio: str
    start_s: float
    duration_s: float
    reference: str
    hypothesis: str
    predicted_language: str | None
