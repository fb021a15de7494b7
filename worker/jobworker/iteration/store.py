"""The port for jobs that keep their own place, in one step with their effects: in a transaction of their database.

A job brings one by `IteratingJob.store`. Redis is told all the same, for whoever watches; where the job goes on is the
store's to say. All calls come from where the items run: a plain job's from its thread, an async job's are awaited.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, Protocol

from jobworker.iteration.keeping import Place


class Store(Protocol):
    """Of a plain job."""

    def load(self, place: Place) -> Place:
        """Where the job stands by this store; ``place`` is what Redis knows."""
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


class AsyncStore(Protocol):
    """The same, of an async job."""

    async def load(self, place: Place) -> Place:
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
