"""A run's folder: who holds it, what it was started with, how far it is."""

from __future__ import annotations

import logging
import operator
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml

from mlsuperb.runs.environment import environment, now, set_seed
from mlsuperb.runs.identity import science
from mlsuperb.runs.store import RESULT_FILE, parsed_config
from mlsuperb.runtime import ranks
from mlsuperb.runtime.files import held, no_link, write_atomic, write_json
from mlsuperb.runtime.logfile import LogFile
from mlsuperb.runtime.messages import one_line
from mlsuperb.runtime.records import load_json
from mlsuperb.runtime.refusals import FULL
from mlsuperb.runtime.speed import begin_peak_memory

log = logging.getLogger(__name__)

LOG_FILE = "run.log"


class Run:
    """A run's folder, held by one job at a time; rank 0 of the job writes.

    Used as a context: the status file says `running`, then `finished` or `failed`, and what failed stands in the log.
    Once there is a result the run has finished: a later error is logged, and raised only where other ranks wait for this one. The
    folder holds `config.yaml`, `environment.json` (of every start), `status.json`, `run.log` and what the run makes.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = config
        self.id: str = config["run_id"]
        self.folder = Path(config["output_root"]) / self.id
        self.state = "running"
        self._progress: dict[str, Any] = {}

    @property
    def finished(self) -> bool:
        """Whether an earlier start wrote the result."""
        return (self.folder / RESULT_FILE).is_file()

    def __enter__(self) -> Run:
        try:
            with ExitStack() as stack:
                if ranks.is_main():
                    stack.enter_context(held(self.folder))
                    stack.enter_context(_logged(self.folder / LOG_FILE))
                self.status()
                ranks.wait()  # the others begin once the folder is there and held
                self._held = stack.pop_all()
        except OSError as error:
            if error.errno in FULL:  # has its own sentence
                raise
            why = error.strerror or error
            raise OSError(
                error.errno,
                f"the run's folder {self.folder} cannot be written ({why}): give output_root=..., a folder that can",
            ) from error
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> bool:
        late = isinstance(error, Exception) and self.finished and ranks.world() == 1
        try:
            failure = ranks.first_failure(error) if error else None
            if error and late:
                log.warning("the result is complete, but something went wrong after it: %s", one_line(error))
            if ranks.is_main():
                self._record_end(failure)
        except OSError as unwritten:
            if error is None and not self.finished:
                raise
            log.warning("how the run ended could not be recorded: %s", unwritten)  # must not take the place of an error
        finally:
            self._held.close()
        return late

    def _record_end(self, failure: ranks.Failure | None) -> None:
        if failure is None or self.finished:
            self.state = "finished"
        else:
            self.state = "interrupted" if failure.interrupted else "failed"
            where = f" (on rank {failure.rank})" if failure.rank > 0 else ""
            self._progress["error"] = f"{failure.error}{where}"
        if failure is not None and not failure.interrupted:
            with open(self.folder / LOG_FILE, "a", encoding="utf-8", opener=no_link) as file:
                file.write(failure.traceback)
            log.info("the traceback is in %s", self.folder / LOG_FILE)
        self.status()

    def begin(self) -> None:
        """Record settings and environment; seed everything; measure memory from here on.

        Raises:
            ValueError: the folder holds a run with other settings.
        """
        self.environment = environment()
        if ranks.is_main():
            self._record_start()
        set_seed(self.config["seed"])
        begin_peak_memory()

    def _record_start(self) -> None:
        path = self.folder / "config.yaml"
        if path.exists():
            earlier = parsed_config(path)
            if science(earlier) != science(self.config):
                raise ValueError(
                    f"{self.folder} holds a run with other settings ({path}); give run_name=..., or remove it"
                )
        write_atomic(path, [yaml.safe_dump(dict(self.config), allow_unicode=True, sort_keys=False)])
        history = self.folder / "environment.json"
        starts = _content(history) if history.exists() else []
        write_json(history, [*starts, self.environment])

    def pin(self, name: str, value: Any, *, same: Callable[[Any, Any], bool] = operator.eq) -> None:
        """Record `value` at the first start; refuse another one later, which is one that is not the `same`.

        Raises:
            ValueError: it changed, so what was trained so far would not be what the result says.
        """
        if not ranks.is_main():
            return
        path = self.folder / f"{name}.json"
        if path.exists() and not same(_content(path), value):
            raise ValueError(
                f"the {name} of this run changed since it was started (see {path}); restore it, or start anew with "
                "run_name=..."
            )
        write_json(path, value)

    def status(self, **progress: Any) -> None:
        """Write the status file."""
        self._progress |= progress
        if not ranks.is_main():
            return
        write_json(
            self.folder / "status.json",
            {"run_id": self.id, "state": self.state, "pid": os.getpid(), "updated": now(), **self._progress},
        )


@contextmanager
def _logged(path: Path) -> Iterator[None]:
    """Write what is logged inside of the block to a file, too."""
    handler = LogFile(path)
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()


def _content(path: Path) -> Any:
    """What a start of the run wrote to a JSON file.

    Raises:
        ValueError: it is damaged.
    """
    try:
        return load_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}); restore it, or start anew with run_name=...") from error
