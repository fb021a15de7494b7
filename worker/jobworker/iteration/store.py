"""The port for jobs that keep their own place, in one step with their effects: in a transaction of their database.

A job brings one by `IteratingJob.checkpoint_store`. Redis is told all the same, for whoever watches; where the job goes
on is the store's to say. All calls come from where the items run: a plain job's from its thread, an async job's are
awaited.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from jobworker.iteration.keeping import Place
from jobworker.protocol.records import Progress


class TakenBack(BaseException):
    """Nothing since the last commit is there. ``again``: the walk goes on from what `load` says; else the job fails.

    No Exception, so that no ``except`` around an item takes it for an error of the item.
    """

    def __init__(self, error: BaseException, *, again: bool = True) -> None:
        # Of an error of a database its first line: the statement and its values behind that are nobody's business.
        words = str(getattr(error, "orig", None) or error).partition("\n")[0]
        super().__init__(f"taken back to the last commit: {type(error).__name__}{words and f': {words}'}")
        self.error = error
        self.again = again


@dataclass(frozen=True, slots=True)
class Stored:
    """Where a job stands by its store. ``cursor`` is JSON; ``progress`` is what Redis may not have been told.

    ``began``: `on_start` or an item was committed; ``over``: all was, the last callbacks included.
    """

    cursor: bytes | None
    processed: int
    progress: Progress | None
    began: bool
    over: bool


class Settles(Protocol):
    """What stores of both kinds tell, to any thread."""

    @property
    def settled(self) -> bool:
        """Is all that was done in this run there for good?"""
        ...

    @property
    def patience_seconds(self) -> float:
        """How long a run that is taken back without getting on tries again before the job fails."""
        ...


class Store(Settles, Protocol):
    """Of a plain job. All of its methods may raise `TakenBack`."""

    def load(self, place: Place) -> Stored:
        """Take the job from whoever had it here, and tell where it stands; ``place`` is what Redis knows."""
        ...

    def callbacks(self, *, over: bool) -> AbstractContextManager[Any]:
        """Surrounds callbacks of the job, whose effects are there in one step; ``over``: they are its last."""
        ...

    def item(self, cursor: Any, processed: int) -> AbstractContextManager[Any]:
        """Surrounds one try of one item, of which ``processed`` is the number, from 1 on.

        Left without an error, its effects and ``cursor`` are one step; left with one, there are none of its effects. An
        item whose error is recorded gets one more that surrounds nothing, and an aborting one is left with an error.
        """
        ...

    def settle(self) -> None:
        """Items that were left without an error are there for good: called in front of each checkpoint and pause."""
        ...

    def close(self) -> None:
        """The walk is over, after `settle` unless that raised; what is not settled shall not be there."""
        ...


class AsyncStore(Settles, Protocol):
    """The same, of an async job."""

    async def load(self, place: Place) -> Stored:
        """See `Store`."""
        ...

    def callbacks(self, *, over: bool) -> AbstractAsyncContextManager[Any]:
        """See `Store`."""
        ...

    def item(self, cursor: Any, processed: int) -> AbstractAsyncContextManager[Any]:
        """See `Store`."""
        ...

    async def settle(self) -> None:
        """See `Store`."""
        ...

    async def close(self) -> None:
        """See `Store`."""
        ...
