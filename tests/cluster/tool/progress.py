"""Steps with their times on the terminal; on stderr, so that output can be piped."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from collections.abc import Iterator


class Progress:
    """Shows what is being done, then how long it took. `quiet` shows nothing: for tests and for use as an API."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._console = Console(stderr=True, quiet=quiet, highlight=False)

    @contextlib.contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Show a step while the block runs, and its seconds after it."""
        started = time.monotonic()
        try:
            if self._console.is_terminal:
                with self._console.status(what):
                    yield
            else:
                yield
        except BaseException:
            self._console.print(f"[red]✗[/] {what} [dim]{time.monotonic() - started:.1f} s[/]")
            raise
        self._console.print(f"[green]✓[/] {what} [dim]{time.monotonic() - started:.1f} s[/]")

    def note(self, message: str) -> None:
        """Show a line by itself."""
        self._console.print(f"[dim]·[/] {message}")
