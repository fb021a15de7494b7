"""Slices of a cancelled job that cannot end by themselves: they failed for good, or somebody deleted them.

Whoever runs a slice tells of its end. Of these nobody ever would, and the whole job would wait for ever. Steps as in
`jobworker.protocol.steps`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from jobworker.errors import MalformedPayload
from jobworker.protocol import payload as payloads
from jobworker.protocol.keys import Keys
from jobworker.protocol.records import WorkerId
from jobworker.protocol.scripts import Script
from jobworker.protocol.slices import KNOWN_SECONDS
from jobworker.protocol.steps import Steps

SETTLE_SLICES = Script("settle_slices")

_READ_SECONDS = 7 * 24 * 3600  # the default of `IteratingJob.progress_seconds`: nobody here knows the class
_SCANNED = 1_000  # payloads in one crossing
_QUEUED_SEARCHED = 100_000  # payloads in queues
_LOOKS = 2


def settled(keys: Keys, whole: str, left: Sequence[str]) -> Steps[None]:
    """Take those of the slices ``left`` that nobody will run as cancelled.

    RACE a slice moves from one place to the next while it is looked for: lost is what two looks do not find. One that
    escapes both all the same ends as cancelled too, a little after its whole job.
    """
    lost = set(left)
    for _ in range(_LOOKS):
        lost -= yield from _alive(keys, whole, lost)
        if not lost:
            return
    numbers = [jid.removeprefix(f"{whole}s") for jid in sorted(lost)]
    names = [keys.slices(whole), keys.progress(whole), keys.iteration(whole)]
    # By its source: a pipeline has no second try for a digest that Redis does not know.
    yield [("EVAL", SETTLE_SLICES.source, len(names), *names, KNOWN_SECONDS, _READ_SECONDS, *numbers)]


def _alive(keys: Keys, whole: str, sought: Collection[str]) -> Steps[set[str]]:
    """Which of the slices will run or run now; who takes a job from a queue is looked at after the queue."""
    found: set[str] = set()
    for key in (keys.schedule, keys.retry):
        found |= yield from _in_set(key, whole)
    if not found.issuperset(sought):
        found |= yield from _in_queues(keys, whole, set(sought) - found)
    parked, workers = yield [("HMGET", keys.parked, *sought), ("SMEMBERS", keys.workers)]
    found.update(jid for jid, raw in zip(sought, parked, strict=True) if raw is not None)
    if workers:
        held = yield [("HVALS", keys.working(WorkerId(raw.decode("utf-8", "surrogateescape")))) for raw in workers]
        for entries in held:
            found |= _jids(whole, [entry.partition(b"\n")[2] for entry in entries])
    return found


def _in_set(key: str, whole: str) -> Steps[set[str]]:
    choice = ("MATCH", f"*{whole}s*") if whole.isascii() and whole.isalnum() else ()
    found: set[str] = set()
    cursor = 0
    while True:
        ((cursor, entries),) = yield [("ZSCAN", key, cursor, *choice, "COUNT", _SCANNED)]
        found |= _jids(whole, [raw for raw, _ in entries])
        if not int(cursor):
            return found


def _in_queues(keys: Keys, whole: str, sought: Collection[str]) -> Steps[set[str]]:
    """Those of the slices that wait in queues; all, where there is more than is searched: they may be anywhere."""
    queue, queues = yield [("HGET", keys.slices(whole), "queue"), ("SMEMBERS", keys.queues)]
    # Where slices lie unless somebody moved them.
    names = [queue, *sorted(queues - {queue})] if queue is not None else sorted(queues)
    found: set[str] = set()
    searched = 0
    for name in names:
        key = keys.queue(name.decode("utf-8", "surrogateescape"))
        place = 0
        while True:
            if found.issuperset(sought):
                return found
            if searched >= _QUEUED_SEARCHED:
                return set(sought)
            # From where jobs are taken: what is pushed meanwhile shifts nothing there.
            (raw,) = yield [("LRANGE", key, -(place + _SCANNED), -(place + 1))]
            found |= _jids(whole, raw)
            searched += len(raw)
            place += len(raw)
            if len(raw) < _SCANNED:
                break
    return found


def _jids(whole: str, raw: Sequence[bytes]) -> set[str]:
    """The jids of those payloads that belong to the job."""
    # JSON may write other characters in many ways.
    begins = f"{whole}s".encode() if whole.isascii() and whole.isalnum() else b""
    found: set[str] = set()
    for payload in raw:
        if begins not in payload:
            continue
        try:
            found.add(payloads.parse(payload).jid)
        except MalformedPayload:
            continue
    return found
