"""What the operator asks of a kind of worker: who is busy, be quiet, may I delete you, give the dead one's jobs back.

One implementation a runtime; `native` is the one for this project's own workers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from jobworker.protocol.records import DrainAnswer
from jobworker.protocol.rescue import Rescued
from jobworker_operator.model.facts import RedisFacts


@dataclass(frozen=True, slots=True)
class Ask:
    """What one JobWorker wants to know: its workers (UIDs of its pods) and its queues. ``fleet`` is its key as text."""

    fleet: str
    workers: tuple[str, ...]
    queues: tuple[str, ...] = ()


class WorkerAdapter(Protocol):
    """Workers behind one Redis and one key prefix. Every method raises redis.RedisError, OSError or TimeoutError."""

    @property
    def events(self) -> str:
        """The channel on which workers tell what has happened to them."""
        ...

    async def look(self, asks: Sequence[Ask]) -> tuple[RedisFacts, ...]:
        """The facts for each of ``asks``, in a number of crossings that does not grow with the number of pods."""
        ...

    async def quiet(self, worker: str, reason: str) -> int:
        """From here on no job starts on the worker. Returns how many it holds."""
        ...

    async def unquiet(self, worker: str) -> int:
        """Let the worker take jobs again. Returns how many it holds."""
        ...

    async def retire(self, worker: str, reason: str) -> int:
        """Quiet the worker if it holds nothing and return 0; else change nothing and return how many it holds."""
        ...

    async def confirm_drained(
        self, worker: str, reason: str, epoch: str | None, checkpoint_max_age_seconds: float | None
    ) -> DrainAnswer:
        """May the pod be deleted now? To be asked immediately before."""
        ...

    async def pod_of(self, worker: str) -> str | None:
        """The name of the pod in which the worker said that it lives; None if it is not registered."""
        ...

    async def rescue(self, worker: str, fleet: str, *, epoch: str | None, planned: bool, forget: bool) -> Rescued:
        """Give back what a worker held whose process is known to be gone; ``epoch`` None: whatever life it was in."""
        ...
