"""What a run does, chosen like everything else (`conf/job/`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

if TYPE_CHECKING:
    from mlsuperb.runs.decoding import Transcriber
    from mlsuperb.runs.run import Run


class Job(Protocol):
    """A kind of run. `conf/job/<name>.yaml` names its class and brings the groups of its configuration.

    Attributes:
        groups: the groups whose options are its parts.
        optional: those of them that need not be chosen (`null` in the job's file).
        settings: further settings at the top of its configuration.
        runtime: by group, arguments that only the running program knows (sizes); nobody types them.
    """

    groups: ClassVar[tuple[str, ...]]
    optional: ClassVar[frozenset[str]] = frozenset()
    settings: ClassVar[tuple[str, ...]]
    runtime: ClassVar[Mapping[str, frozenset[str]]]

    @classmethod
    def misfits(cls, config: Mapping[str, Any], groups: Sequence[str]) -> Iterator[str]:
        """Parts among `groups` that are sound alone but do not go together, one sentence each."""
        ...

    def __call__(self, config: Mapping[str, Any], run: Run) -> None:
        """Do the work in the run's folder, from wherever an earlier start left it, and end by writing the result."""
        ...

    @classmethod
    def leaves(cls, config: Mapping[str, Any]) -> Sequence[str]:
        """Names of the files and folders of a finished run that something is done with later, its result apart."""
        ...

    def load(self, folder: Path, *, device: str) -> Transcriber:
        """What a finished run has trained, for `evaluate` and `transcribe`.

        Raises:
            ValueError: the run makes nothing that transcribes, or the folder does not hold what it made.
        """
        ...

    def show(self, folder: Path) -> None:
        """Print the result of a finished run."""
        ...


@runtime_checkable
class Evaluates(Job, Protocol):
    """A job whose finished runs write text, so that they can be scored on other data (`mlsuperb evaluate`)."""

    def trained_config(self, folder: Path) -> dict[str, Any]:
        """The configuration of a finished run.

        Raises:
            ValueError: the folder holds none.
        """
        ...

    def evaluate(self, run: Path, config: Mapping[str, Any], folder: Path, *, language: str | None) -> None:
        """Decode and score what `config` chooses, and write the result into `folder`.

        Args:
            run: folder of the finished run.
            config: its configuration with other data, search, scoring or loading.
            language: see `Transcriber.write_in`.

        Raises:
            ValueError: the model does not take the data or the language.
        """
        ...

    def data_splits(self, config: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
        """Split -> its hash and size in the data that `config` chooses, as they are now (`Result.data.splits`)."""
        ...

    def decode_again(self, folder: Path, config: Mapping[str, Any]) -> None:
        """Write the hypotheses of a finished run, which somebody has removed, once more.

        Raises:
            ValueError: the data or the weights are not what they were.
        """
        ...

    def score_again(self, folder: Path, config: Mapping[str, Any]) -> None:
        """Score the hypotheses of a run or an evaluation as `config` says, and put that into its result.

        Raises:
            ValueError: there are no hypotheses.
        """
        ...
