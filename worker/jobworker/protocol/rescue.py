"""Give the jobs of a dead worker back to the living.

Two steps, because every key of a script is declared and the queues are only known from what is read: read epoch and
entries, then move them by one script that refuses if anything has changed since. Called by the operator on a pod's
death, by every live worker every few seconds, and by a restarted container for its own life before.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, cast

from jobworker.errors import ArgumentsNotJSON, MalformedPayload
from jobworker.protocol import payload as payloads
from jobworker.protocol.records import Entry, Epoch, RescueAnswer, WorkerId
from jobworker.protocol.scripts import RESCUE, FleetScripts

DEATHS = "jw_deaths"
"""Payload field: how many workers died of no known cause while they held the job."""

_ROUNDS = 100  # a bound for a worker that takes faster than it can be rescued, which only a live one could


@dataclass(frozen=True, slots=True)
class Death:
    """What is known about the end of a worker.

    ``vouched``: the caller knows that the process is gone (its pod or container is), so a fresh heartbeat is no proof
    of life. ``epoch``: with ``vouched``, the life that is known to be over; None vouches for any, as when the pod's
    UID is gone from the API. ``planned``: somebody ended it on purpose, so no job is to blame; a worker that had said
    that it was stopping counts as such by itself. ``forget``: the identity will never come back, so its quiet fact
    goes as well.
    """

    vouched: bool = False
    epoch: Epoch | None = None
    planned: bool = False
    forget: bool = False


@dataclass(frozen=True, slots=True)
class Rescued:
    """``moved`` jobs went back to their queues, of which ``poisoned`` went to the dead set instead."""

    answer: RescueAnswer
    moved: int = 0
    poisoned: int = 0


async def rescue(
    scripts: FleetScripts, worker: WorkerId, fleet: str, death: Death, *, poison_after: int = 3
) -> Rescued:
    """Move everything that ``worker`` holds to the front of its queues and end its life.

    A job that was held through ``poison_after`` deaths without a known cause goes to the dead set.
    """
    keys = scripts.keys
    moved = poisoned = 0
    for _ in range(_ROUNDS):
        # The epoch is read first: a life that begins after this is noticed by the script.
        epoch, stopping = await cast(
            "Awaitable[list[bytes | None]]", scripts.redis.hmget(keys.record(worker), ["epoch", "stopping"])
        )
        # Killed at the end of its grace: the worker had been told to stop, and none of its jobs is to blame.
        planned = death.planned or stopping == b"1"
        if death.epoch is not None and epoch is not None and epoch.decode() != death.epoch:
            return Rescued(RescueAnswer.MOVED, moved, poisoned)
        entries = await scripts.held(worker)
        queues = sorted({entry.queue for entry in entries})
        args: list[Any] = [int(death.vouched), epoch or b"", worker, keys.events, int(death.forget), time.time()]
        for entry in sorted(entries, key=lambda entry: -entry.number):
            payload, dead = _after_death(entry, planned, poison_after)
            poisoned += dead
            args += [entry.number, entry.queue, 0 if dead else queues.index(entry.queue) + 1, payload]
        script_keys = [
            keys.record(worker), keys.alive(worker), keys.working(worker), keys.checkpoints(worker), keys.workers,
            keys.fleet(fleet), keys.quiet(worker), keys.dead, keys.inflight,
            *(name for queue in queues for name in (keys.queue(queue), keys.wake(queue))),
        ]  # fmt: skip
        status, count = await RESCUE(scripts.redis, script_keys, args)
        moved += int(count)
        if status != b"MORE":
            return Rescued(RescueAnswer(status.decode()), moved, poisoned)
    return Rescued(RescueAnswer.ALIVE, moved, poisoned)


def _after_death(entry: Entry, planned: bool, poison_after: int) -> tuple[bytes, bool]:  # noqa: FBT001  # private
    """The payload to put back, and whether it belongs into the dead set."""
    if planned:
        return entry.payload, False
    try:
        job = payloads.parse(entry.payload)
    except MalformedPayload:
        return entry.payload, False  # whoever takes it next buries it with the reason
    known = job.extra.get(DEATHS, 0)
    deaths = (known if isinstance(known, int) else 0) + 1
    poisonous = deaths >= poison_after
    story: dict[str, Any] = {DEATHS: deaths}
    if poisonous:
        message = f"{deaths} workers died while they ran this job, none of them stopped on purpose"
        story |= {"error_class": "Poison", "error_message": message, "failed_at": job.time(time.time())}
    try:
        return job.with_fields(**story).to_json(), poisonous
    except ArgumentsNotJSON:
        # Nested deeper than can be written. Its deaths cannot be counted, but the others' jobs must be rescued.
        return entry.payload, False
