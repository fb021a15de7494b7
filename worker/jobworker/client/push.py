"""What a push consists of, before any network: payloads checked and stamped, packed into one request for Redis.

What can be is computed once for each kind of job: the JSON up to the jid, the request up to the payloads. What remains
for one job are its jid, its time and its arguments. A push may carry a guard, with which Redis carries it out once
however often it is asked.
"""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, TypeVar

import orjson

from jobworker.errors import ArgumentsNotJSON
from jobworker.jobs import arguments
from jobworker.jobs.options import check_pushed
from jobworker.protocol.keys import Keys
from jobworker.protocol.payload import JobId, TimeFormat, timestamp
from jobworker.protocol.scheduling import SCHEDULE
from jobworker.protocol.scripts import ENQUEUE, Script, enqueue_keys

ENQUEUE_ONCE, SCHEDULE_ONCE = Script("enqueue_once"), Script("schedule_once")

CHUNK = 1_000  # payloads in one script call: Redis serves others in between
_REMEMBERED = 1_000  # kinds of jobs, and queues, of which is kept what they have in common
_JID_BYTES = 12  # as Sidekiq's: 24 hexadecimal digits
_SET_HERE = frozenset({"args", "class", "created_at", "enqueued_at", "jid", "queue", "retry"})

T = TypeVar("T")


class Kind:
    """What all jobs of one class, queue, retry rule and further ``fields`` have in common.

    ``signature`` names the arguments in messages, ``time_format`` is that of Sidekiq up to 7 or from 8 on. `job`,
    `jobs` and `changed` raise ArgumentsNotJSON for what cannot travel.

    Raises:
        ConfigurationError: no worker could read or take such jobs, or a field looks like a misspelt option.
        TypeError: a field is one that the client sets.
    """

    __slots__ = ("_common", "_head", "_signature", "_time_format", "job_class", "queue", "retry")

    def __init__(
        self,
        job_class: str,
        queue: str,
        retry: bool | int,  # noqa: FBT001  # Sidekiq's option has both types
        fields: Mapping[str, Any],
        signature: inspect.Signature | None = None,
        time_format: TimeFormat = "seconds",
    ) -> None:
        check_pushed(job_class, queue, retry, fields)
        self.job_class = job_class
        self.queue = queue
        self.retry = retry
        self._signature = signature
        self._time_format: TimeFormat = time_format
        if not _SET_HERE.isdisjoint(fields):
            raise TypeError(f"{job_class}: {min(_SET_HERE.intersection(fields))} of a payload is set by the client")
        try:
            self._common = orjson.dumps({**fields, "class": job_class, "queue": queue, "retry": retry})
        except orjson.JSONEncodeError as error:
            raise ArgumentsNotJSON(f"{job_class!r}: its options cannot be written as JSON: {error}") from error
        self._head = self._common[:-1] + b',"jid":"'

    def fields(self) -> dict[str, Any]:
        """The further fields, as JSON carries them; a copy that nobody else has."""
        found: dict[str, Any] = orjson.loads(self._common)
        del found["class"], found["queue"], found["retry"]
        return found

    def changed(self, queue: Any, retry: Any, fields: Mapping[str, Any]) -> Kind:
        """What they have in common with other options; raises as making one does."""
        return Kind(self.job_class, queue, retry, fields, self._signature, self._time_format)

    def job(
        self, args: Sequence[Any], now: float, *, later: bool = False, jid: JobId | None = None
    ) -> tuple[JobId, bytes]:
        """A jid and a payload made at ``now`` (epoch seconds); ``later`` for the schedule instead of its queue."""
        encoded = arguments.encode(self.job_class, args, self._signature)
        if jid is None:
            jid = JobId(os.urandom(_JID_BYTES).hex())
        return jid, b'%b%b","created_at":%b"args":%b}' % (
            self._head,
            jid.encode(),
            _times(now, self._time_format, later=later),
            encoded,
        )

    def jobs(self, args_of_each: Sequence[Sequence[Any]], now: float) -> tuple[list[JobId], list[bytes]]:
        """`job` for many: their jids and payloads in order."""
        encode, job_class, signature, head = arguments.encode, self.job_class, self._signature, self._head
        jids = new_jids(len(args_of_each))
        between = b'","created_at":%b"args":' % _times(now, self._time_format)
        return jids, [
            b"%b%b%b%b}" % (head, jid.encode(), between, encode(job_class, args, signature))
            for jid, args in zip(jids, args_of_each, strict=True)
        ]


def new_jids(count: int) -> list[JobId]:
    """So many random jids."""
    digits = os.urandom(_JID_BYTES * count).hex()  # one call of the kernel for all of them
    return [JobId(digits[at : at + 2 * _JID_BYTES]) for at in range(0, len(digits), 2 * _JID_BYTES)]


def _times(now: float, time_format: TimeFormat, *, later: bool = False) -> bytes:
    # The repr of a float is JSON, and never that of an integer, which Sidekiq would read as milliseconds.
    at = timestamp(now, time_format)
    return b"%a," % at if later else b'%a,"enqueued_at":%a,' % (at, at)


@dataclass(frozen=True, slots=True)
class Guard:
    """Under ``key`` Redis remembers ``token``, the last push that was carried out with it."""

    key: bytes
    token: bytes


class Target:
    """A script on its keys, packed once. ``args`` are its first arguments; those of a push follow them.

    A guard's key is the last key of a script, its token the last argument.
    """

    __slots__ = ("_args", "_by_digest", "_by_source", "_count")

    def __init__(self, script: Script, keys: Sequence[str], args: Sequence[str], *, guarded: bool) -> None:
        names = packed([b"%d" % (len(keys) + guarded), *(key.encode() for key in keys)])
        self._count = 3 + len(keys) + len(args)
        self._args = packed([arg.encode() for arg in args])
        self._by_digest = packed([b"EVALSHA", script.digest.encode()]) + names
        self._by_source = packed([b"EVAL", script.source.encode()]) + names

    def request(self, args: Sequence[bytes], guard: Guard | None, *, by_source: bool) -> bytes:
        """The bytes that go to Redis; ``by_source`` where it does not know the digest."""
        head = self._by_source if by_source else self._by_digest
        if guard is None:
            return b"*%d\r\n%b%b%b" % (self._count + len(args), head, self._args, packed(args))
        return b"*%d\r\n%b%b%b%b%b" % (
            self._count + len(args) + 2, head, packed([guard.key]), self._args, packed(args), packed([guard.token]),
        )  # fmt: skip


@dataclass(slots=True)
class Push:
    """One request that puts jobs into Redis, and the jids of these jobs. ``guard`` belongs to a guarded target."""

    jids: Sequence[JobId]
    target: Target
    args: Sequence[bytes]
    guard: Guard | None = None

    def request(self, *, by_source: bool = False) -> bytes:
        """The bytes that go to Redis; ``by_source`` where it does not know the script's digest."""
        return self.target.request(self.args, self.guard, by_source=by_source)


class Pushes:
    """Makes pushes for the keys behind one prefix; ``guarded`` ones still need their guard.

    All methods raise ArgumentsNotJSON for what cannot travel.
    """

    def __init__(self, keys: Keys, time_format: TimeFormat = "seconds", *, guarded: bool = False) -> None:
        self._keys = keys
        self._time_format = time_format
        self._guarded = guarded
        self._kinds: dict[Any, Kind] = {}
        self._queues: dict[str, Target] = {}
        script = SCHEDULE_ONCE if guarded else SCHEDULE
        self._schedule = Target(script, [keys.schedule], [keys.due], guarded=guarded)

    def kind(
        self,
        job_class: str,
        queue: str,
        retry: bool | int,  # noqa: FBT001  # Sidekiq's option has both types
        fields: Mapping[str, Any],
        signature: inspect.Signature | None = None,
    ) -> Kind:
        """What jobs of this class and these options have in common."""
        # True == 1, but they are different rules.
        key = job_class, queue, retry, type(retry), id(signature), repr(fields) if fields else None
        try:
            found = self._kinds.get(key)
        except TypeError:  # an option that cannot be looked up, such as a list: making the kind says which
            found = None
        if found is None:
            if len(self._kinds) >= _REMEMBERED:
                self._kinds.clear()
            found = self._kinds[key] = Kind(job_class, queue, retry, fields, signature, self._time_format)
        return found

    def one(self, kind: Kind, args: Sequence[Any], now: float) -> Push:
        """One job at ``now`` (epoch seconds)."""
        jid, payload = kind.job(args, now)
        return Push((jid,), self._queue(kind.queue), (payload,))

    def later(self, kind: Kind, args: Sequence[Any], now: float, when: datetime | timedelta | float) -> Push:
        """One job made at ``now`` (epoch seconds), to be enqueued later.

        Raises:
            ValueError: the time has no zone.
        """
        jid, payload = kind.job(args, now, later=True)
        return self.of([jid], kind.queue, [payload], due(now, when))

    def many(self, kind: Kind, args_of_each: Iterable[Sequence[Any]], clock: Callable[[], float]) -> Iterator[Push]:
        """Many jobs, `CHUNK` in each push, made when it is asked for; ``clock`` gives epoch seconds."""
        target = self._queue(kind.queue)
        for chunk in chunks(args_of_each):
            jids, payloads = kind.jobs(chunk, clock())
            yield Push(jids, target, payloads)

    def of(self, jids: Sequence[JobId], queue: str, payloads: Sequence[bytes], due_at: float | None = None) -> Push:
        """Jobs that are written already: for their queue, or one for the schedule, due in epoch seconds."""
        if due_at is None:
            return Push(jids, self._queue(queue), payloads)
        return Push(jids, self._schedule, (b"%a" % float(due_at), *payloads))

    def _queue(self, queue: str) -> Target:
        target = self._queues.get(queue)
        if target is None:
            if len(self._queues) >= _REMEMBERED:
                self._queues.clear()
            script = ENQUEUE_ONCE if self._guarded else ENQUEUE
            keys = enqueue_keys(self._keys, queue)
            target = self._queues[queue] = Target(script, keys, [queue], guarded=self._guarded)
        return target


def packed(parts: Sequence[bytes]) -> bytes:
    """Each part as RESP's bulk string."""
    return b"".join([b"$%d\r\n%b\r\n" % (len(part), part) for part in parts])


def due(now: float, when: datetime | timedelta | float) -> float:
    """Epoch seconds of ``when``: a time with its zone, or so long from now (seconds or timedelta).

    Raises:
        ValueError: a datetime without a zone, whose meaning would depend on the machine, or a number that is none.
        TypeError: it is no time.
    """
    if isinstance(when, datetime):
        if when.tzinfo is None:
            raise ValueError(f"{when} has no time zone; pass datetime.now(UTC) + … or a time with tzinfo")
        return when.timestamp()
    seconds: object = when.total_seconds() if isinstance(when, timedelta) else when
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise TypeError(
            f"a job cannot be scheduled for {when!r}: pass a number of seconds from now, a timedelta, or a datetime "
            "with a zone"
        )
    if not math.isfinite(seconds):
        raise ValueError(f"a job cannot be scheduled for {when!r} seconds from now")
    return now + seconds


def chunks(items: Iterable[T]) -> Iterator[list[T]]:
    """``items`` in lists of at most `CHUNK`."""
    source = iter(items)
    while chunk := list(islice(source, CHUNK)):
        yield chunk
