"""The base class of iterating jobs, in the words of Sidekiq 7.3's iteration."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from jobworker.iteration.progress import JobProgress


class IteratingJob:
    """A long job cut into items, which a deploy may interrupt after any of them.

    Define ``build_enumerator(self, *args, cursor)``, which returns pairs of an item and the cursor behind it, from
    ``cursor`` on (None at the beginning), and ``each_iteration(self, item, *args)``, async or plain. Both get the
    job's arguments. One run is one instance; between runs only cursor and progress survive.
    """

    on_error: ClassVar[Literal["fail", "record"]] = "fail"
    """An item that raises fails the job, which tries again at that item; or is recorded as an error of its row."""

    checkpoint_seconds: ClassVar[float] = 5.0
    """The longest time between two checkpoints: what a SIGKILL may repeat. Clean interruptions repeat nothing."""

    progress: JobProgress

    # Subclasses give both of them narrower parameters, which no declared method could allow.
    build_enumerator: Any
    each_iteration: Any

    def on_start(self) -> Any:
        """The first run begins. May be async, like the other three."""

    def on_resume(self) -> Any:
        """A later run begins, where the one before left off."""

    def on_stop(self) -> Any:
        """This run ends: interrupted, cancelled or complete; not after an error."""

    def on_cancel(self) -> Any:
        """Somebody cancelled the job; no item follows."""

    def on_complete(self) -> Any:
        """All items are done."""
