"""Give the jobs of a dead worker back to the living.

Two steps, because every key of a script is declared and the queues are only known from what is read: read epoch and
entries, then move them by one script that refuses if anything has changed since. Called by the operator on a pod's
death, by every live worker every few seconds, and by a restarted container for its own life before.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any, cast

from jobworker.errors import ArgumentsNotJSON, MalformedPayload
from jobworker.protocol import payload as payloads
from jobworker.protocol.deaths import DISCARDED_AT, POISON_AFTER
from jobworker.protocol.processes import hide
from jobworker.protocol.records import Entry, Epoch, Finished, GivenBack, Outcome, RescueAnswer, WorkerId
from jobworker.protocol.scripts import RESCUE, FleetScripts, WorkerScripts

DEATHS = "jw_deaths"
"""Payload field: how many workers died of no known cause while they held the job."""

STORY = "jw_story"
"""Payload field: of the last of these deaths, which worker, in which pod or on which host, found dead when."""

POISON_AFTER_DEATHS = 3
_STORY = 10  # deaths kept of it
_MESSAGE = 10_000  # characters; Sidekiq's bound for error_message

_KNOWN_SECONDS = 24 * 3600  # for how long a worker that was stopped and comes back hears that it was rescued
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
    """``moved`` jobs went back to their queues, of which ``poisoned`` went to the dead set instead.

    A poisoned job leaves a notice for its death handlers, which a worker that knows the job calls.
    """

    answer: RescueAnswer
    moved: int = 0
    poisoned: int = 0


@dataclass(frozen=True, slots=True)
class _Found:
    """What the dead worker left: who it was, and whether it had been told to stop."""

    worker: WorkerId
    place: str
    planned: bool


async def rescue(
    scripts: FleetScripts, worker: WorkerId, fleet: str, death: Death, *, poison_after: int = POISON_AFTER_DEATHS
) -> Rescued:
    """Move everything that ``worker`` holds to the front of its queues and end its life.

    A job that was held through ``poison_after`` deaths without a known cause (or as many as its payload says; 0 for
    never) goes to the dead set.
    """
    keys = scripts.keys
    moved = poisoned = 0
    for _ in range(_ROUNDS):
        # The epoch is read first: a life that begins after this is noticed by the script.
        epoch, stopping, pod, host, process = await cast(
            "Awaitable[list[bytes | None]]",
            scripts.redis.hmget(keys.record(worker), ["epoch", "stopping", "pod", "hostname", "process"]),
        )
        # Killed at the end of its grace: the worker had been told to stop, and none of its jobs is to blame.
        found = _Found(worker, (pod or host or b"").decode("utf-8", "replace"), death.planned or stopping == b"1")
        if death.epoch is not None and epoch is not None and epoch.decode() != death.epoch:
            return Rescued(RescueAnswer.MOVED, moved, poisoned)
        entries = await scripts.held(worker)
        queues = sorted({entry.queue for entry in entries})
        args: list[Any] = [
            int(death.vouched), epoch or b"", worker, keys.events, int(death.forget), time.time(), keys.due,
            _KNOWN_SECONDS,
        ]  # fmt: skip
        for entry in sorted(entries, key=lambda entry: -entry.number):
            payload, fate = _after_death(entry, found, poison_after)
            poisoned += fate is not _Fate.BACK
            place = queues.index(entry.queue) + 1 if fate is _Fate.BACK else fate.value
            args += [entry.number, entry.queue, place, payload]
        script_keys = [
            keys.record(worker), keys.alive(worker), keys.working(worker), keys.checkpoints(worker), keys.workers,
            keys.fleet(fleet), keys.quiet(worker), keys.dead, keys.inflight, keys.deaths,
            keys.rescued(worker),
            *(name for queue in queues for name in (keys.queue(queue), keys.wake(queue))),
        ]  # fmt: skip
        status, count = await RESCUE(scripts.redis, script_keys, args)
        moved += int(count)
        if status == b"OK" and process is not None:
            await hide(scripts.redis, keys, process.decode())
        if status != b"MORE":
            return Rescued(RescueAnswer(status.decode()), moved, poisoned)
    return Rescued(RescueAnswer.ALIVE, moved, poisoned)


async def give_back_of(
    scripts: WorkerScripts,
    entries: Sequence[Entry],
    place: str,
    *,
    planned: bool,
    poison_after: int = POISON_AFTER_DEATHS,
) -> Rescued:
    """Move what one of several processes held that died, while the worker goes on: ``entries`` of its working set.

    ``place`` is the pod or the host, for the story of a job that is poison; ``planned`` as in `Death`.

    Raises:
        StaleEpoch: the worker's life is over, and everything of it was rescued.
    """
    found = _Found(scripts.worker, place, planned)
    back: list[GivenBack] = []
    dead: list[Finished] = []
    for entry in entries:
        payload, fate = _after_death(entry, found, poison_after)
        if fate is _Fate.BACK:
            back.append(GivenBack(entry.number, entry.queue, payload))
        else:
            outcome = Outcome.DEAD if fate is _Fate.DEAD else Outcome.FAILED
            dead.append(Finished(entry.number, entry.queue, outcome, time.time(), payload, announced=True))
    lost = len(await scripts.give_back(back)) if back else 0
    if dead:
        lost += (await scripts.finish(dead)).lost
    return Rescued(RescueAnswer.OK, len(entries) - lost, len(dead))


class _Fate(Enum):
    """Where a job of a dead worker goes; the values are those of the script."""

    BACK = 1
    DEAD = 0
    DROPPED = -1


def _after_death(entry: Entry, found: _Found, poison_after: int) -> tuple[bytes, _Fate]:
    """The payload to put there."""
    if found.planned:
        return entry.payload, _Fate.BACK
    try:
        job = payloads.parse(entry.payload).fetched_from(entry.queue)
    except MalformedPayload:
        return entry.payload, _Fate.BACK  # whoever takes it next buries it with the reason
    now = time.time()
    deaths = _count(job.extra.get(DEATHS)) + 1
    known = job.extra.get(STORY)
    story = [*(known if isinstance(known, list) else []), {"worker": found.worker, "at": now, "on": found.place}][
        -_STORY:
    ]
    fields: dict[str, Any] = {DEATHS: deaths, STORY: story}
    bound = _count(job.extra.get(POISON_AFTER, poison_after))
    fate = _Fate.BACK
    if 0 < bound <= deaths:
        fate = _Fate.DROPPED if job.extra.get("dead") is False else _Fate.DEAD
        told = "; ".join(_told(death) for death in story)
        workers = "a worker" if deaths == 1 else f"{deaths} workers"
        message = f"{workers} died running this job, none of them stopped on purpose: {told}"
        fields |= {"error_class": "Poison", "error_message": message[:_MESSAGE]}
        fields["failed_at" if job.retry_count is None else "retried_at"] = job.time(now)
        if fate is _Fate.DROPPED:
            fields[DISCARDED_AT] = round(now * 1000)
    try:
        return job.with_fields(**fields).to_json(), fate
    except ArgumentsNotJSON:
        # Nested deeper than can be written. Its deaths cannot be counted, but the others' jobs must be rescued.
        return entry.payload, _Fate.BACK


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0


def _told(death: object) -> str:
    if not isinstance(death, dict):
        return str(death)
    at = death.get("at")
    when = datetime.fromtimestamp(at, UTC).isoformat(" ", "seconds") if isinstance(at, float) else str(at)
    return f"{death.get('worker')} on {death.get('on') or 'an unknown host'}, found dead at {when}"
