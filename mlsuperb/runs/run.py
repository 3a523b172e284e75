"""A run's folder: who holds it, what it was started with, how far it is."""

from __future__ import annotations

import json
import logging
import operator
import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml

from mlsuperb.runs.environment import environment, now, set_seed
from mlsuperb.runs.identity import science
from mlsuperb.runs.store import RESULT_FILE, parsed_config
from mlsuperb.runtime import ranks
from mlsuperb.runtime.files import held, write_atomic, write_json

log = logging.getLogger(__name__)


class Run:
    """A run's folder, held by one job at a time; rank 0 of the job writes.

    Used as a context: the status file says `running`, then `finished` or `failed`, and what failed stands in the log.
    The folder holds `config.yaml`, `environment.json` (of every start), `status.json`, `run.log` and what the run makes.
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
        with ExitStack() as stack:
            if ranks.is_main():
                stack.enter_context(held(self.folder))
            self._was_finished = ranks.from_main(lambda: self.finished)
            self._held = stack.pop_all()
        if self._was_finished:
            log.info("this run has ended before; here is its result (remove %s to run it again)", self.folder)
        else:
            self.status()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        failure = ranks.first_failure(error) if error else None
        try:
            if ranks.is_main() and not self._was_finished:
                self._record_end(failure)
        except OSError as failure:
            if error is None:
                raise
            log.warning("the failure could not be recorded: %s", failure)  # it must not take the place of its cause
        finally:
            self._held.close()

    def _record_end(self, failure: ranks.Failure | None) -> None:
        if failure is None:
            self.state = "finished"
        else:
            self.state = "interrupted" if failure.interrupted else "failed"
            where = f" (on rank {failure.rank})" if failure.rank > 0 else ""
            self._progress["error"] = f"{failure.error}{where}"
        if failure is not None and self.state == "failed":
            with (self.folder / "run.log").open("a", encoding="utf-8") as file:  # Hydra shows an error but logs none
                file.write(failure.traceback)
        self.status()

    def begin(self) -> None:
        """Record settings and environment; seed everything.

        Raises:
            ValueError: the folder holds a run with other settings.
        """
        self.environment = environment()
        if ranks.is_main():
            self._record_start()
        set_seed(self.config["seed"])

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


def _content(path: Path) -> Any:
    """
    Raises:
        ValueError: a file that a start of the run wrote is damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}); restore it, or start anew with run_name=...") from error
