"""What the demo shows while it runs: steps, pods with the jobs that they hold, the import, the queues."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

_FRAMES = 4  # a second
_SYMBOLS = {"done": "[green]✓[/]", "failed": "[red]✗[/]", "running": "[yellow]▶[/]"}


class Step:
    """One step of the story: what is done, and how long it takes or took."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.state = "running"
        self.note = ""
        self._began = time.monotonic()
        self._seconds: float | None = None

    @property
    def seconds(self) -> float:
        """So far, or in all."""
        return time.monotonic() - self._began if self._seconds is None else self._seconds

    def end(self, state: str) -> None:
        """Stop the clock."""
        self._seconds, self.state = self.seconds, state


class Screen:
    """Steps and a live view below them. On anything but a terminal each step is a line when it ends."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.steps: list[Step] = []
        self.view: Callable[[], RenderableType] | None = None
        self._live = Live(console=console, refresh_per_second=_FRAMES, get_renderable=self._render, transient=True)
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.view = None
        if self.console.is_terminal:
            self._live.stop()
            for step in self.steps:
                self.console.print(_line(step))

    @contextmanager
    def step(self, what: str) -> Iterator[Step]:
        """Show a step while the block runs."""
        step = Step(what)
        self.steps.append(step)
        try:
            yield step
        except BaseException:
            step.end("failed")
            self._say(step)
            raise
        step.end("done")
        self._say(step)

    def _say(self, step: Step) -> None:
        if not self.console.is_terminal:
            self.console.print(_line(step))

    def _render(self) -> RenderableType:
        parts: list[RenderableType] = [_line(step) for step in self.steps]
        if self.view is not None:
            parts += [Text(), self.view()]
        return Group(*parts)


def _line(step: Step) -> Text:
    note = f" [cyan]{step.note}[/]" if step.note else ""
    return Text.from_markup(f"{_SYMBOLS[step.state]} {step.what}{note} [dim]{step.seconds:.1f} s[/]")


def pods_table(pods: list[dict[str, Any]], held: dict[str, int]) -> Table:
    """Each pod with its version, its state and the jobs that it holds."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("pod", "image", "state", "jobs"):
        table.add_column(column)
    for pod in sorted(pods, key=lambda pod: str(pod["metadata"]["creationTimestamp"])):
        jobs = held.get(pod["metadata"]["uid"], 0)
        image = pod["spec"]["containers"][0]["image"].rpartition(":")[2]
        table.add_row(pod["metadata"]["name"], image, _state(pod, jobs), "■" * jobs)
    return table


def import_bar(done: int, rows: int) -> Table:
    """How far the import is."""
    table = Table.grid(padding=(0, 2))
    table.add_row("rows", ProgressBar(total=max(rows, 1), completed=done, width=40), f"{done:,} of {rows:,}")
    return table


def _state(pod: dict[str, Any], jobs: int) -> str:
    if "deletionTimestamp" in pod["metadata"]:
        return "[dim]going[/]"
    if "jobworker.dev/removal" in pod["metadata"].get("annotations", {}):
        return "[yellow]quiet, finishing[/]"
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in pod.get("status", {}).get("conditions", []))
    if not ready:
        return "starting"
    return "[green]working[/]" if jobs else "idle"
