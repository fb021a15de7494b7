"""This project's own workers, by the scripts of jobworker.protocol.

A look takes three crossings for all JobWorkers of one Redis and prefix: who belongs to the fleets, what those and
the pods are doing, how deep the queues are.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Mapping, Sequence
from typing import cast

from redis.asyncio import Redis

from jobworker.protocol.keys import Keys
from jobworker.protocol.reading import activities, queue_depths
from jobworker.protocol.records import Activity, DrainAnswer, Epoch, QueueDepth, WorkerId
from jobworker.protocol.rescue import Death, Rescued, rescue
from jobworker.protocol.scripts import FleetScripts
from jobworker_operator.adapters.port import Ask
from jobworker_operator.model.facts import QueueFacts, RedisFacts, WorkerActivity

_CHUNK = 500  # workers that one script looks at: it must not keep Redis from its other clients for long
_DUE_SOON_SECONDS = 60.0


class NativeAdapter:
    """Workers behind ``prefix`` in one Redis."""

    def __init__(self, redis: Redis, prefix: str) -> None:
        self._redis = redis
        self._keys = Keys(prefix)
        self._scripts = FleetScripts(redis, self._keys)

    @property
    def events(self) -> str:
        """The channel on which workers tell what has happened to them."""
        return self._keys.events

    async def look(self, asks: Sequence[Ask]) -> tuple[RedisFacts, ...]:
        """The facts for each of ``asks``."""
        fleets, due_soon, paused_jobs = await self._fleets(asks)
        everyone = sorted(
            {worker for ask, fleet in zip(asks, fleets, strict=True) for worker in (*ask.workers, *fleet)}
        )
        queues = sorted({queue for ask in asks for queue in ask.queues})
        seen, depths = await asyncio.gather(self._activities(everyone), self._depths(queues))
        return tuple(
            RedisFacts(
                activities={worker: seen[worker] for worker in {*ask.workers, *fleet}},
                queues=tuple(depths[queue] for queue in ask.queues),
                orphans=tuple(sorted(fleet - {*ask.workers})),
                due_soon=due_soon,
                paused_jobs=paused_jobs,
            )
            for ask, fleet in zip(asks, fleets, strict=True)
        )

    async def quiet(self, worker: str, reason: str) -> int:
        """From here on no job starts on the worker. Returns how many it holds."""
        return await self._scripts.quiet(WorkerId(worker), reason)

    async def unquiet(self, worker: str) -> int:
        """Let the worker take jobs again. Returns how many it holds."""
        return await self._scripts.unquiet(WorkerId(worker))

    async def retire(self, worker: str, reason: str) -> int:
        """Quiet the worker if it holds nothing and return 0; else change nothing and return how many it holds."""
        return await self._scripts.retire(WorkerId(worker), reason)

    async def confirm_drained(
        self, worker: str, reason: str, epoch: str | None, checkpoint_max_age_seconds: float | None
    ) -> DrainAnswer:
        """May the pod be deleted now? To be asked immediately before."""
        life = None if epoch is None else Epoch(epoch)
        return await self._scripts.confirm_drained(WorkerId(worker), reason, life, checkpoint_max_age_seconds)

    async def pod_of(self, worker: str) -> str | None:
        """The name of the pod in which the worker said that it lives; None if it is not registered."""
        record = self._keys.record(WorkerId(worker))
        name = await cast("Awaitable[bytes | None]", self._redis.hget(record, "pod"))
        return name.decode() if name else None

    async def rescue(self, worker: str, fleet: str, *, epoch: str | None, planned: bool, forget: bool) -> Rescued:
        """Give back what a worker held whose process is known to be gone; ``epoch`` None: whatever life it was in."""
        life = None if epoch is None else Epoch(epoch)
        death = Death(vouched=True, epoch=life, planned=planned, forget=forget)
        return await rescue(self._scripts, WorkerId(worker), fleet, death)

    async def _fleets(self, asks: Sequence[Ask]) -> tuple[list[set[str]], int, int]:
        async with self._redis.pipeline(transaction=False) as pipe:
            for ask in asks:
                _ = pipe.hkeys(self._keys.fleet(ask.fleet))
            soon = time.time() + _DUE_SOON_SECONDS
            for waiting in (self._keys.schedule, self._keys.retry):
                _ = pipe.zcount(waiting, "-inf", soon)
            _ = pipe.hlen(self._keys.parked)
            *members, scheduled, retries, paused = await pipe.execute()
        return [{member.decode() for member in fleet} for fleet in members], int(scheduled) + int(retries), int(paused)

    async def _activities(self, workers: Sequence[str]) -> Mapping[str, WorkerActivity]:
        seen: dict[str, WorkerActivity] = {}
        for at in range(0, len(workers), _CHUNK):
            chunk = [WorkerId(worker) for worker in workers[at : at + _CHUNK]]
            seen |= {activity.worker: _facts(activity) for activity in await activities(self._redis, self._keys, chunk)}
        return seen

    async def _depths(self, queues: Sequence[str]) -> Mapping[str, QueueFacts]:
        if not queues:
            return {}
        return {depth.name: _queue(depth) for depth in await queue_depths(self._redis, self._keys, queues)}


def _facts(activity: Activity) -> WorkerActivity:
    return WorkerActivity(
        epoch=activity.epoch,
        alive=activity.alive,
        held=activity.held,
        running=activity.running,
        quiet=activity.quiet,
        beat_age_seconds=activity.beat_age_seconds,
        checkpoint_age_seconds=activity.checkpoint_age_seconds,
    )


def _queue(depth: QueueDepth) -> QueueFacts:
    return QueueFacts(depth.name, depth.depth, depth.latency_seconds, depth.paused)
