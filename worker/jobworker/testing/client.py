"""The clients of a test: they check and write jobs as those of production do, and put them into memory.

They pass the same contract tests as `Client` and `SyncClient` on a real Redis.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self, cast

from jobworker.client import push
from jobworker.client.middleware import ClientMiddleware, departure
from jobworker.client.push import Kind
from jobworker.protocol.control import ControlAnswer, Standing, Wanted
from jobworker.protocol.payload import JobId
from jobworker.protocol.progress import ERRORS_AT_ONCE, JobProgress
from jobworker.testing.memory import Memory
from jobworker.testing.progress import progress_of

When = datetime | timedelta | float


class MemoryClient:
    """`Client` without a Redis. ``pushed`` is awaited for each job that is due at once, behind the middleware."""

    def __init__(
        self,
        memory: Memory,
        pushed: Callable[[JobId], Awaitable[None]] | None = None,
        middleware: Sequence[ClientMiddleware] = (),
    ) -> None:
        self._memory = memory
        self._middleware = middleware
        self._pushed = pushed

    async def enqueue(
        self,
        job_class: str,
        args: Sequence[Any] = (),
        *,
        queue: str = "default",
        retry: bool | int = True,
        signature: inspect.Signature | None = None,
        **fields: Any,
    ) -> JobId:
        """As `Client.enqueue`."""
        (jid,) = _enqueue(self._memory, self._middleware, Kind(job_class, queue, retry, fields, signature), [args])
        await self._run([jid])
        return jid

    async def enqueue_many(
        self,
        job_class: str,
        args_of_each: Iterable[Sequence[Any]],
        *,
        queue: str = "default",
        retry: bool | int = True,
        signature: inspect.Signature | None = None,
        **fields: Any,
    ) -> list[JobId]:
        """As `Client.enqueue_many`."""
        kind = Kind(job_class, queue, retry, fields, signature)
        jids: list[JobId] = []
        for chunk in push.chunks(args_of_each):
            made = _enqueue(self._memory, self._middleware, kind, chunk)
            await self._run(made)
            jids += made
        return jids

    async def schedule(
        self,
        when: When,
        job_class: str,
        args: Sequence[Any] = (),
        *,
        queue: str = "default",
        retry: bool | int = True,
        signature: inspect.Signature | None = None,
        **fields: Any,
    ) -> JobId:
        """As `Client.schedule`, by the test's clock."""
        kind = Kind(job_class, queue, retry, fields, signature)
        due = push.due(self._memory.clock.seconds, when)
        return _enqueue(self._memory, self._middleware, kind, [args], due)[0]

    async def cancel(self, jid: str) -> ControlAnswer:
        """As `Client.cancel`."""
        return await self._ask(jid, Wanted.CANCEL)

    async def pause(self, jid: str) -> ControlAnswer:
        """As `Client.pause`."""
        return await self._ask(jid, Wanted.PAUSE)

    async def resume(self, jid: str) -> ControlAnswer:
        """As `Client.resume`."""
        return await self._ask(jid, Wanted.RESUME)

    async def progress(
        self, jid: str, *, errors_after: int = 0, errors: int | None = ERRORS_AT_ONCE
    ) -> JobProgress | None:
        """As `Client.progress`; without times and rates, for a test's clock stands."""
        return progress_of(self._memory, jid, errors_after, errors)

    async def failed_rows(self, jid: str) -> tuple[range, ...]:
        """As `Client.failed_rows`."""
        return self._memory.places.failed_rows(jid)

    async def close(self) -> None:
        """There is no connection to close."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _ask(self, jid: str, wanted: Wanted) -> ControlAnswer:
        answer = self._memory.ask(JobId(jid), wanted)
        await self._run(_moved(answer))
        return answer

    async def _run(self, jids: Iterable[JobId]) -> None:
        if self._pushed is not None:
            for jid in filter(None, jids):
                await self._pushed(jid)


class MemorySyncClient:
    """`SyncClient` without a Redis. ``pushed`` is called for each job that is due at once, behind the middleware."""

    def __init__(
        self,
        memory: Memory,
        pushed: Callable[[JobId], None] | None = None,
        middleware: Sequence[ClientMiddleware] = (),
    ) -> None:
        self._memory = memory
        self._middleware = middleware
        self._pushed = pushed

    def enqueue(
        self,
        job_class: str,
        args: Sequence[Any] = (),
        *,
        queue: str = "default",
        retry: bool | int = True,
        signature: inspect.Signature | None = None,
        **fields: Any,
    ) -> JobId:
        """As `SyncClient.enqueue`."""
        (jid,) = _enqueue(self._memory, self._middleware, Kind(job_class, queue, retry, fields, signature), [args])
        self._run([jid])
        return jid

    def enqueue_many(
        self,
        job_class: str,
        args_of_each: Iterable[Sequence[Any]],
        *,
        queue: str = "default",
        retry: bool | int = True,
        signature: inspect.Signature | None = None,
        **fields: Any,
    ) -> list[JobId]:
        """As `SyncClient.enqueue_many`."""
        kind = Kind(job_class, queue, retry, fields, signature)
        jids: list[JobId] = []
        for chunk in push.chunks(args_of_each):
            made = _enqueue(self._memory, self._middleware, kind, chunk)
            self._run(made)
            jids += made
        return jids

    def schedule(
        self,
        when: When,
        job_class: str,
        args: Sequence[Any] = (),
        *,
        queue: str = "default",
        retry: bool | int = True,
        signature: inspect.Signature | None = None,
        **fields: Any,
    ) -> JobId:
        """As `SyncClient.schedule`, by the test's clock."""
        kind = Kind(job_class, queue, retry, fields, signature)
        due = push.due(self._memory.clock.seconds, when)
        return _enqueue(self._memory, self._middleware, kind, [args], due)[0]

    def cancel(self, jid: str) -> ControlAnswer:
        """As `Client.cancel`."""
        return self._ask(jid, Wanted.CANCEL)

    def pause(self, jid: str) -> ControlAnswer:
        """As `Client.pause`."""
        return self._ask(jid, Wanted.PAUSE)

    def resume(self, jid: str) -> ControlAnswer:
        """As `Client.resume`."""
        return self._ask(jid, Wanted.RESUME)

    def progress(self, jid: str, *, errors_after: int = 0, errors: int | None = ERRORS_AT_ONCE) -> JobProgress | None:
        """As `SyncClient.progress`; without times and rates, for a test's clock stands."""
        return progress_of(self._memory, jid, errors_after, errors)

    def failed_rows(self, jid: str) -> tuple[range, ...]:
        """As `SyncClient.failed_rows`."""
        return self._memory.places.failed_rows(jid)

    def close(self) -> None:
        """There is no connection to close."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, jid: str, wanted: Wanted) -> ControlAnswer:
        answer = self._memory.ask(JobId(jid), wanted)
        self._run(_moved(answer))
        return answer

    def _run(self, jids: Iterable[JobId]) -> None:
        if self._pushed is not None:
            for jid in filter(None, jids):
                self._pushed(jid)


def _moved(answer: ControlAnswer) -> list[JobId]:
    """The job, if it was put to its queue."""
    return [JobId(answer.jid)] if answer.standing is Standing.PAUSED and answer.changed else []


def _enqueue(
    memory: Memory,
    chain: Sequence[ClientMiddleware],
    kind: Kind,
    args_of_each: Sequence[Sequence[Any]],
    due: float | None = None,
) -> list[JobId]:
    steps = departure(chain, kind, args_of_each, memory.clock.seconds, due)
    try:
        while True:
            load = next(steps)
            if load.due is None:
                memory.push(load.payloads)
            else:
                memory.schedule(load.due, *load.payloads)
    except StopIteration as end:
        return cast("list[JobId]", end.value)
