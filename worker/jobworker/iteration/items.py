"""What is done with one item where `each_iteration` alone is not all of it: tries, recorded errors, what surrounds it.

Put together once for a walk, from the inside out: `each_iteration`, `around_iteration`, the job's own store, further
tries, the record of an error. A job that uses none of these has no call more for an item.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext, suppress
from typing import Any, NoReturn, cast

from jobworker.iteration.enumerators.walking import wait_until, wait_until_async
from jobworker.iteration.job import IteratingJob
from jobworker.iteration.store import AsyncStore, Store
from jobworker.jobs.context import CURRENT, Context
from jobworker.jobs.middleware import Middleware, Skipped, around, around_plain
from jobworker.protocol.payload import error_message

log = logging.getLogger("jobworker.jobs")

Work = Callable[[Any, Any], None]
"""Works on an item, given the cursor behind it."""
AsyncWork = Callable[[Any, Any], Awaitable[None]]


class Tries:
    """How often the present item has raised so far. Written down with the cursor, so that further runs count on."""

    __slots__ = ("failed",)

    def __init__(self, failed: int = 0) -> None:
        self.failed = failed


def work_of(job: IteratingJob, args: Sequence[Any], store: Store | None, tries: Tries) -> Work | None:
    """What is done with an item of a plain job; None where that is `each_iteration` and nothing else."""
    if _is_simple(job, store):
        return None
    each, chain, context = job.each_iteration, _chain(job), _context()

    def kept(cursor: Any) -> AbstractContextManager[Any]:
        return nullcontext() if store is None else store.item(cursor, job.progress.row)

    def once(item: Any, cursor: Any) -> None:
        with kept(cursor):
            if chain:
                with suppress(Skipped):
                    around_plain(chain, context, lambda: each(item, *args), _never)
            else:
                each(item, *args)

    def work(item: Any, cursor: Any) -> None:
        while True:
            try:
                once(item, cursor)
            except Exception as error:  # the border to the user's code
                if _tries_again(job, tries, error):
                    if store is not None:
                        store.settle()
                    wait_until(time.monotonic() + job.item_retry_seconds)
                    continue
                if job.on_error == "fail":
                    raise
                _record(job, error)
                with kept(cursor):
                    pass
            tries.failed = 0
            return

    return work


def async_work_of(job: IteratingJob, args: Sequence[Any], store: AsyncStore | None, tries: Tries) -> AsyncWork | None:
    """The same of an async job."""
    if _is_simple(job, store):
        return None
    each, chain, context = job.each_iteration, _chain(job), _context()

    def kept(cursor: Any) -> AbstractAsyncContextManager[Any]:
        return nullcontext() if store is None else store.item(cursor, job.progress.row)

    async def once(item: Any, cursor: Any) -> None:
        async with kept(cursor):
            if chain:
                with suppress(Skipped):
                    await around(chain, context, lambda: each(item, *args))
            else:
                await each(item, *args)

    async def work(item: Any, cursor: Any) -> None:
        while True:
            try:
                await once(item, cursor)
            except Exception as error:  # the border to the user's code
                if _tries_again(job, tries, error):
                    if store is not None:
                        await store.settle()
                    await wait_until_async(asyncio.get_running_loop().time() + job.item_retry_seconds)
                    continue
                if job.on_error == "fail":
                    raise
                _record(job, error)
                async with kept(cursor):
                    pass
            tries.failed = 0
            return

    return work


def _is_simple(job: IteratingJob, store: Store | AsyncStore | None) -> bool:
    return store is None and job.on_error == "fail" and not job.item_retries and not _chain(job)


def _chain(job: IteratingJob) -> list[Middleware]:
    own = type(job).around_iteration is not IteratingJob.around_iteration
    return [lambda _: job.around_iteration()] if own else []


def _context() -> Context:
    # Only handed through to a middleware that does not look at it.
    return cast("Context", CURRENT.get())


def _never(step: Coroutine[Any, Any, Any]) -> NoReturn:
    step.close()
    raise AssertionError("around_iteration of a plain job is plain, which its class was asked about")


def _tries_again(job: IteratingJob, tries: Tries, error: Exception) -> bool:
    """Count the error. Is there a further try?"""
    if tries.failed >= job.item_retries:
        tries.failed = 0  # the job's own next try, if there is one, has all of them again
        return False
    tries.failed += 1
    log.warning(
        "item raised: it is tried again",
        extra={
            "row": job.progress.row, "try": tries.failed, "of": job.item_retries, "seconds": job.item_retry_seconds,
            "error": f"{type(error).__name__}: {error_message(error)}",
        },
    )  # fmt: skip
    return True


def _record(job: IteratingJob, error: Exception) -> None:
    job.progress.error(f"{type(error).__name__}: {error_message(error)}")
