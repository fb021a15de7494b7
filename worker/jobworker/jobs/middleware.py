"""Code around every job: Sidekiq's server middleware, as generators that yield once.

What stands before the yield runs before the job, what stands behind it after; an error of the job is raised at the
yield. The first one that was added is the outermost. One that returns without yielding skips the job, one that raises
before it fails the job, which is then retried as any other.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterator
from typing import Any, TypeVar, cast

from jobworker.errors import ConfigurationError
from jobworker.jobs.context import Context

Middleware = Callable[[Context], Iterator[None]] | Callable[[Context], AsyncIterator[None]]
Entered = Generator[None, None, None] | AsyncGenerator[None, None]
Await = Callable[[Coroutine[Any, Any, Any]], Any]

T = TypeVar("T")


class Skipped(BaseException):  # no error: nobody around it who catches errors shall get it
    """A middleware returned without yielding: the job shall not run, and is done."""


def checked(middleware: Middleware) -> Middleware:
    """A middleware, if it is one.

    Raises:
        ConfigurationError: it is no generator function.
    """
    if not inspect.isgeneratorfunction(middleware) and not inspect.isasyncgenfunction(middleware):
        name = getattr(middleware, "__qualname__", repr(middleware))
        raise ConfigurationError(
            f"{name} is no middleware: write a generator function, plain or async, that yields once: "
            "def timing(context): begin(); yield; end()"
        )
    return middleware


async def around(chain: list[Middleware], context: Context, body: Callable[[], Awaitable[object]]) -> None:
    """Run an async ``body`` inside of the middleware; plain ones run on the event loop too.

    Raises:
        Skipped: one did not yield; the body did not run.
        BaseException: what the body or a middleware raised, and none of those around it took.
    """
    entered: list[Entered] = []
    error: BaseException | None = None
    try:
        for middleware in chain:
            entered.append(await _enter(middleware, context))  # noqa: PERF401  # left again if the next one raises
        await body()
    except BaseException as raised:  # noqa: BLE001  # it goes through those that were entered, and out
        error = raised
    while entered:
        error = await _leave(entered.pop(), error)
    if error is not None:
        raise error


def around_plain(chain: list[Middleware], context: Context, body: Callable[[], None], wait: Await) -> None:
    """Run a plain ``body`` in its thread inside of the middleware; ``wait`` runs a coroutine on the event loop.

    Raises:
        Skipped: one did not yield; the body did not run.
        BaseException: what the body or a middleware raised, and none of those around it took.
    """
    entered: list[Entered] = []
    error: BaseException | None = None
    try:
        for middleware in chain:
            entered.append(_drive(_enter(middleware, context), wait, middleware))  # noqa: PERF401  # as above
        body()
    except BaseException as raised:  # noqa: BLE001  # it goes through those that were entered, and out
        error = raised
    while entered:
        generator = entered.pop()
        error = _drive(_leave(generator, error), wait, generator)
    if error is not None:
        raise error


async def _enter(middleware: Middleware, context: Context) -> Entered:
    generator = cast("Entered", middleware(context))
    if not await _yields(generator, None):
        raise Skipped(getattr(middleware, "__qualname__", repr(middleware)))
    return generator


async def _leave(generator: Entered, error: BaseException | None) -> BaseException | None:
    """Let it go on behind its yield; the error that goes on to the next one outside."""
    try:
        again = await _yields(generator, error)
    except BaseException as raised:  # noqa: BLE001  # the border to the user's code
        return raised
    if not again:
        return None
    name = getattr(generator, "__qualname__", repr(generator))
    return ConfigurationError(f"the middleware {name} yielded twice; what it surrounds runs once")


async def _yields(generator: Entered, error: BaseException | None) -> bool:
    """Let it go on, with ``error`` raised where it stands. Does it yield once more?"""
    try:
        if isinstance(generator, Generator):
            if error is None:
                next(generator)
            else:
                generator.throw(error)
        elif error is None:
            await anext(generator)
        else:
            await generator.athrow(error)
    except (StopIteration, StopAsyncIteration) as ended:
        if ended is error:
            raise RuntimeError(f"{type(ended).__name__} came out of a job: {ended}") from ended
        return False
    return True


def _drive(step: Coroutine[Any, Any, T], wait: Await, owner: object) -> T:
    """A step of a plain middleware never waits, and is made in this thread; one of an async one on the loop."""
    if inspect.isasyncgenfunction(owner) or inspect.isasyncgen(owner):
        answer: T = wait(step)
        return answer
    try:
        step.send(None)
    except StopIteration as done:
        return cast("T", done.value)
    raise AssertionError("a step of a plain generator does not wait")


def on_loop(loop: asyncio.AbstractEventLoop) -> Await:
    """What `around_plain` waits with, in a thread beside ``loop``."""
    return lambda step: asyncio.run_coroutine_threadsafe(step, loop).result()
