"""The port through which a worker gets jobs from somewhere else than its Redis queues.

Sidekiq's custom fetchers, in two steps: a fetcher hands out units of work, and a unit is acknowledged or given back.
What makes Redis queues reliable (held jobs, rescue) is the fetcher's own affair here; the worker promises to
acknowledge only what has ended, and to give back what it did not run to its end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class UnitOfWork(Protocol):
    """One job and how to tell of its end. Each is acknowledged or given back, once unless that raises."""

    @property
    def payload(self) -> bytes:
        """Sidekiq's JSON of the job."""
        ...

    @property
    def queue(self) -> str:
        """What logs and the job's context name as its queue."""
        ...

    async def acknowledge(self) -> None:
        """The job has ended: it is done, or Redis has it in the retry or dead set. Called again if it raises."""
        ...

    async def give_back(self) -> None:
        """The job did not end here: somebody shall run it again. Called again if it raises."""
        ...


class Fetcher(Protocol):
    """Hands out units of work to one worker process."""

    async def retrieve(self, count: int) -> Sequence[UnitOfWork]:
        """One to ``count`` units, as soon as there is one; none after a while is fine too.

        Cancelled when the worker stops to take jobs; a unit that was not returned then is the fetcher's to keep. What
        it raises is logged, and it is asked again after a pause.
        """
        ...
