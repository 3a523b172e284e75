"""The terminal that tables and messages are written to."""

from __future__ import annotations

import rich.console


class Console(rich.console.Console):
    """Rich's console, which leaves it to the program (`mlsuperb.commands.errors.end`) how to end where nobody reads its output
    any more."""

    def on_broken_pipe(self) -> None:
        """Raise `BrokenPipeError`, where rich's own raises `SystemExit(1)`."""
        self.quiet = True
        raise BrokenPipeError
