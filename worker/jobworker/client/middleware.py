"""Code around every push: Sidekiq's client middleware, as plain generators that yield once.

What stands before the yield runs before the job is written, and may change what is; what stands behind it runs once
Redis has the job. The first one that was added is the outermost. One that returns without yielding stops the push, one
that raises before it fails the push, and what Redis refuses is raised at the yield. Nothing here talks to Redis:
`departure` yields what shall be sent and is told how that went, so that all clients share it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Container, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar, cast

from jobworker.client.push import Kind, new_jids
from jobworker.errors import ConfigurationError, PushBufferFull
from jobworker.jobs import arguments
from jobworker.protocol.payload import JobId

NOT_PUSHED: Final = JobId("")
"""What a client answers in place of a jid for a job that a middleware stopped: empty, and so false."""


class OutgoingJob:
    """A job that is about to be pushed, as its middleware sees and changes it.

    ``args`` is a list of its own and is checked behind the middleware, whoever changed it. ``queue`` and ``retry`` may
    be set; ``fields`` are the further fields of the payload, which the worker finds in ``context().extra``.
    ``pushed`` is False until the job is in Redis, or with reliable push accepted for it: asked behind the yield it
    tells whether a middleware further in stopped it.
    """

    __slots__ = ("_due", "_jid", "_job_class", "args", "fields", "pushed", "queue", "retry")

    def __init__(self, kind: Kind, args: Sequence[Any], jid: JobId, due: float | None) -> None:
        self._jid = jid
        self._job_class = kind.job_class
        self._due = due
        self.args: list[Any] = arguments.listed(kind.job_class, args)
        self.queue = kind.queue
        self.retry: bool | int = kind.retry
        self.fields: dict[str, Any] = kind.fields()
        self.pushed = False

    @property
    def jid(self) -> JobId:
        """What names this one job."""
        return self._jid

    @property
    def job_class(self) -> str:
        """The name of the job: what payloads carry in ``class``."""
        return self._job_class

    @property
    def due(self) -> float | None:
        """When it shall go to its queue, in epoch seconds; None for at once."""
        return self._due

    def __repr__(self) -> str:
        return f"<OutgoingJob {self._job_class} {self._jid} to {self.queue}>"


ClientMiddleware = Callable[[OutgoingJob], Iterator[None]]
M = TypeVar("M", bound=ClientMiddleware)


@dataclass(frozen=True, slots=True)
class Load:
    """Jobs for one queue that travel in one request. ``due`` as of `OutgoingJob`: a job for later travels alone."""

    queue: str
    due: float | None = None
    jids: list[JobId] = field(default_factory=list)
    payloads: list[bytes] = field(default_factory=list)


Departure = Generator[Load, None, list[JobId]]
"""Yields what is to be sent, has an error raised there if that failed, and returns a jid or `NOT_PUSHED` for each."""


def checked(middleware: M) -> M:
    """A client middleware, if it is one.

    Raises:
        ConfigurationError: it is no plain generator function.
    """
    surround: Any = middleware  # or the check would narrow its type
    if not inspect.isgeneratorfunction(surround):
        name = getattr(middleware, "__qualname__", repr(middleware))
        # An async one could not surround what plain code pushes, which may have an event loop or none.
        raise ConfigurationError(
            f"{name} is no client middleware: write a plain generator function, not an async one, that yields once: "
            "def trace(job): job.fields['trace'] = current_trace(); yield"
        )
    return middleware


def departure(
    chain: Sequence[ClientMiddleware],
    kind: Kind,
    args_of_each: Sequence[Sequence[Any]],
    now: float,
    due: float | None = None,
) -> Departure:
    """Take jobs made at ``now`` (epoch seconds) through the middleware: all go in, then all are sent, then all go out.

    Raises:
        ArgumentsNotJSON: what a middleware left of a job cannot travel. Nothing was sent.
        BaseException: what a middleware raised, or what sending raised and none of those around the job took.
    """
    jids = new_jids(len(args_of_each))
    passages = [_Passage(OutgoingJob(kind, args, jid, due)) for jid, args in zip(jids, args_of_each, strict=True)]
    loads: dict[str, Load] = {}
    for number, passage in enumerate(passages):
        payload = passage.go_in(chain, kind, now)
        if payload is not None:
            load = loads.setdefault(passage.job.queue, Load(passage.job.queue, due))
            load.jids.append(passage.job.jid)
            load.payloads.append(payload)
        elif passage.error is not None and (error := passage.go_out(passage.error)) is not None:
            # One that cannot go keeps them all back: of a part of them the caller would have no jids.
            for entered in passages[:number]:
                entered.go_out(error)
            raise error
    sent: set[JobId] = set()
    failure: BaseException | None = None
    for load in loads.values():
        try:
            yield load
        except BaseException as raised:  # noqa: BLE001  # it goes through the middleware, and out
            failure = raised
            break
        sent.update(load.jids)
    unhandled = [left for passage in passages if (left := passage.arrive(sent, failure)) is not None]
    if unhandled:
        if isinstance(unhandled[0], PushBufferFull):
            unhandled[0].accepted = tuple(passage.job.jid for passage in passages if passage.job.pushed)
        raise unhandled[0]
    return [passage.job.jid if passage.job.pushed else NOT_PUSHED for passage in passages]


class _Passage:
    """One job on its way through the middleware, of which some are entered."""

    __slots__ = ("_entered", "_packed", "error", "job")

    def __init__(self, job: OutgoingJob) -> None:
        self.job = job
        self.error: BaseException | None = None
        self._entered: list[Iterator[None]] = []
        self._packed = False

    def go_in(self, chain: Sequence[ClientMiddleware], kind: Kind, now: float) -> bytes | None:
        """Up to the yield of each, and write the job: its payload. None if one stopped it, or with an ``error``."""
        job = self.job
        try:
            for middleware in chain:
                surround = middleware(job)
                if not _yields(surround, None):
                    return None
                self._entered.append(surround)
            changed = kind.changed(job.queue, job.retry, job.fields)
            _, payload = changed.job(job.args, now, later=job.due is not None, jid=job.jid)
        except BaseException as raised:  # noqa: BLE001  # it goes through those that were entered, and out
            self.error = raised
            return None
        self._packed = True
        return payload

    def arrive(self, sent: Container[JobId], failure: BaseException | None) -> BaseException | None:
        """Go out after the sending, of which ``failure`` was the end; the error that nobody took."""
        self.job.pushed = self.job.jid in sent
        return self.go_out(failure if self._packed and not self.job.pushed else None)

    def go_out(self, error: BaseException | None) -> BaseException | None:
        """On behind the yield of each, where ``error`` is raised; the one that nobody took."""
        while self._entered:
            surround = self._entered.pop()
            try:
                if _yields(surround, error):
                    name = getattr(surround, "__qualname__", repr(surround))
                    error = ConfigurationError(f"the client middleware {name} yielded twice; a push happens once")
                else:
                    error = None
            except BaseException as raised:  # noqa: BLE001  # the border to the user's code
                error = raised
        return error


def _yields(surround: Iterator[None], error: BaseException | None) -> bool:
    """Let it go on, with ``error`` raised where it stands. Does it yield once more?"""
    try:
        if error is None:
            next(surround)
        else:
            cast("Generator[None, None, None]", surround).throw(error)
    except StopIteration:
        return False
    return True
