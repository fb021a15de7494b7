"""What an iterating job may fill on its way, such as a file: the place of the job is then the sink's to tell.

Items that were worked on are not safe before what came of them is. So in the place of the walk's own cursor the run
writes the sink's, and it asks the sink to make the rest safe where the run ends before the walk does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Protocol, runtime_checkable

from jobworker.iteration.enumerators.walking import Enumerator
from jobworker.iteration.keeping import Kept
from jobworker.iteration.progress import JobProgress

InThread = Callable[[Callable[[], Any]], Awaitable[Any]]
"""Calls a plain function in a thread."""


class Checkpoint(Protocol):
    """Writes the place of the job down, for the event loop. Raises NotHeld where the job is somebody else's by now."""

    def __call__(self, *, wait: bool) -> Coroutine[Any, Any, Kept]:
        """With ``wait`` for as long as Redis is away: then the run held the job when the answer came."""
        ...


class Sink(Protocol):
    """One run's. `begin`, `put_aside` and `discard` may take their time, and are called in a thread."""

    @property
    def cursor(self) -> Any:
        """Where the job stands, of JSON, up to where all is safe. Asked from any thread, at any time."""
        ...

    @property
    def age_seconds(self) -> float:
        """How long ago all that was done was safe."""
        ...

    def begin(self, progress: JobProgress) -> Any:
        """The cursor of the walk to go on from. Progress beyond it is taken back."""
        ...

    def around(self, enumerator: Enumerator, checkpoint: Checkpoint, in_thread: InThread) -> Enumerator:
        """The walk, with what the sink does between two items and behind the last. Called on the event loop."""
        ...

    def put_aside(self, cursor: Any) -> None:
        """Make safe what was done up to this cursor of the walk, where the job is going to be left. Raises nothing.

        Called in front of checkpoints that are due, by the walk itself, and where no item follows in this run.
        """
        ...

    def discard(self) -> None:
        """The job is over: if what it fills was not finished, leave nothing behind. Raises nothing."""
        ...


@runtime_checkable
class FillsSink(Protocol):
    """A job that has one."""

    def open_sink(self, cursor: Any, args: Sequence[Any]) -> Sink:
        """For one run, which begins at this cursor of the sink's own, None at first."""
        ...
