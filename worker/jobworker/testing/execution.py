"""Runs jobs for tests: on the test's own event loop, or, for a test without one, in the test's own thread.

The application's code of a plain test runs in one thread, so that a database connection that the test opened serves
the job too. Only the walk of a plain iterating job needs an event loop beside it, which then has another thread.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, TypeVar, assert_never, cast

from jobworker.errors import JobTimeout
from jobworker.iteration.job import IteratingJob
from jobworker.iteration.run import End, InThread, Run
from jobworker.jobs.context import Context
from jobworker.jobs.middleware import Middleware, around, around_plain, on_loop

T = TypeVar("T")

MakeRun = Callable[[InThread], Run]
_Asked = tuple[Callable[[], Any], "asyncio.Future[Any]"]


@dataclass(frozen=True, slots=True)
class Call:
    """Call a function of the application as a worker does: an async one on the loop, a plain one in a thread."""

    target: Callable[..., Any]
    args: Sequence[Any] = ()


@dataclass(frozen=True, slots=True)
class Ask:
    """Call a function of the test itself, async or plain, where the test runs."""

    target: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Walk:
    """Run an iterating job. ``give_up`` is called when its time is over, and lets its thread end with the next item."""

    job: IteratingJob
    make: MakeRun
    give_up: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True)
class Perform:
    """Do what a job is inside of the middleware ``chain``, as a worker does; ``seconds`` are its time limit."""

    body: Call | Walk
    chain: list[Middleware]
    context: Context
    seconds: float | None


Steps = Generator[Call | Ask | Walk | Perform, Any, T]
"""What is to be done, one thing after the other, for whoever can: it yields steps, gets answers, returns a result."""


async def drive(steps: Steps[T]) -> T:
    """Do the steps on this event loop, plain code of the application in threads."""
    try:
        step = next(steps)
        while True:
            try:
                answer = await _answer(step)
            except BaseException as error:  # noqa: BLE001  # the steps decide what becomes of it
                step = steps.throw(error)
            else:
                step = steps.send(answer)
    except StopIteration as end:
        return cast("T", end.value)


async def _answer(step: Call | Ask | Walk | Perform) -> Any:
    match step:
        case Perform():
            return await _performed(step)
        case Call(target, args):
            if inspect.iscoroutinefunction(target):
                return await target(*args)
            return await _in_thread(lambda: target(*args))
        case Ask(target):
            answer = target()
            return await answer if inspect.isawaitable(answer) else answer
        case Walk(_, make):
            return await make(_in_thread)()
        case _:
            assert_never(step)


async def _performed(step: Perform) -> None:
    chain, context, seconds = step.chain, step.context, step.seconds
    match step.body:
        case Call(target, args) if inspect.iscoroutinefunction(target):
            await _limited(seconds, around(chain, context, lambda: target(*args)))
        case Call(target, args):
            wait = on_loop(asyncio.get_running_loop())
            with _asked_to_leave(context, seconds):
                await _in_thread(lambda: around_plain(chain, context, lambda: target(*args), wait))
        case Walk() as walk:
            await _walked(walk, seconds, _in_thread, lambda run: around(chain, context, run))
        case _:
            assert_never(step.body)


class Here:
    """Runs async and plain code alike in the thread that asks. Its event loop lasts until `close`."""

    def __init__(self) -> None:
        self._runner: asyncio.Runner | None = None
        self._thread = threading.get_ident()
        self._busy = False

    def drive(self, steps: Steps[T]) -> T:
        """Do the steps, all code of the application in this thread."""
        try:
            step = next(steps)
            while True:
                try:
                    answer = self._answer(step)
                except BaseException as error:  # noqa: BLE001  # the steps decide what becomes of it
                    step = steps.throw(error)
                else:
                    step = steps.send(answer)
        except StopIteration as end:
            return cast("T", end.value)

    def close(self) -> None:
        """Close its event loop."""
        if self._runner is not None:
            self._runner.close()
            self._runner = None

    def _answer(self, step: Call | Ask | Walk | Perform) -> Any:
        match step:
            case Perform():
                return self._perform(step)
            case Call(target, args):
                return self._finish(target(*args)) if inspect.iscoroutinefunction(target) else target(*args)
            case Ask(target):
                answer = target()
                return self._finish(answer) if inspect.iscoroutine(answer) else answer
            case Walk(job, make):
                if inspect.iscoroutinefunction(job.each_iteration):
                    return self._finish(make(_at_once)())
                return _served(step, None)
            case _:
                assert_never(step)

    def _perform(self, step: Perform) -> None:
        chain, context, seconds = step.chain, step.context, step.seconds
        match step.body:
            case Call(target, args) if inspect.iscoroutinefunction(target):
                self._finish(_limited(seconds, around(chain, context, lambda: target(*args))))
            case Call(target, args):
                with _asked_to_leave(context, seconds):
                    _around_here(chain, context, lambda: target(*args))
            case Walk(job, make) if inspect.iscoroutinefunction(job.each_iteration):
                self._finish(_limited(seconds, around(chain, context, make(_at_once))))
            case Walk() as walk:
                _around_here(chain, context, lambda: _served(walk, seconds))
            case _:
                assert_never(step.body)

    def _finish(self, work: Coroutine[Any, Any, T]) -> T:
        if _loop_runs_here():
            # A plain call out of async code: no loop can run inside of another one in the same thread.
            return _in_a_thread(lambda: _run(work))
        if self._busy or threading.get_ident() != self._thread:
            return _run(work)
        if self._runner is None:
            self._runner = _new_runner()
        self._busy = True
        try:
            # Its own context would be that of the first run for ever.
            return self._runner.run(work, context=contextvars.copy_context())
        finally:
            self._busy = False


def _around_here(chain: list[Middleware], context: Context, body: Callable[[], Any]) -> None:
    """Plain middleware in this thread, async middleware on an event loop that lasts as long as what it surrounds."""
    runner = _new_runner()
    elsewhere = _loop_runs_here()

    def wait(step: Coroutine[Any, Any, Any]) -> Any:
        return _in_a_thread(lambda: runner.run(step)) if elsewhere else runner.run(step)

    try:
        around_plain(chain, context, body, wait)
    finally:
        if elsewhere:
            _in_a_thread(runner.close)
        else:
            runner.close()


async def _limited(seconds: float | None, work: Awaitable[T]) -> T:
    """Cancelled after its time, as a worker does it: the middleware is cancelled too."""
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            return await work
    except TimeoutError as error:
        if limit.expired() and isinstance(error.__cause__, asyncio.CancelledError):
            raise JobTimeout(f"cancelled after {seconds:g} s, its time limit") from error
        raise


@contextmanager
def _asked_to_leave(context: Context, seconds: float | None) -> Iterator[None]:
    """After its time a plain job finds its context quiet."""
    if seconds is None:
        yield
        return

    def over() -> None:
        context.overdue = True

    timer = threading.Timer(seconds, over)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


async def _walked(walk: Walk, seconds: float | None, in_thread: InThread, surround: Callable[[Run], Awaitable[T]]) -> T:
    """Walk for so many seconds at most; a thread that is in an item then is waited for."""
    calls: set[asyncio.Future[Any]] = set()

    async def noted(function: Callable[[], Any]) -> Any:
        call = asyncio.ensure_future(in_thread(function))
        calls.add(call)
        call.add_done_callback(calls.discard)
        return await asyncio.shield(call)

    try:
        return await _limited(seconds, surround(walk.make(noted)))
    except JobTimeout:
        walk.give_up()
        # It may want to write its place down: the event loop has to be there until it ends.
        await asyncio.gather(*calls, return_exceptions=True)
        raise


def _served(walk: Walk, seconds: float | None) -> End:
    """Run it with the event loop in a thread beside; what it wants to have run in a thread is run in this one."""
    calls: SimpleQueue[_Asked | None] = SimpleQueue()

    async def in_thread(function: Callable[[], Any]) -> Any:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        calls.put((function, future))
        return await future

    def serve() -> End:
        try:
            return _run(_walked(walk, seconds, in_thread, lambda run: run()))
        finally:
            calls.put(None)

    context = contextvars.copy_context()
    ended: list[tuple[End | None, BaseException | None]] = []
    thread = threading.Thread(target=lambda: ended.append(_caught(lambda: context.run(serve))), daemon=True)
    thread.start()
    while (asked := calls.get()) is not None:
        function, future = asked
        answer, error = _caught(function)
        future.get_loop().call_soon_threadsafe(_settle, future, answer, error)
    thread.join()
    return _handed_over(ended)


async def _in_thread(function: Callable[[], T]) -> T:
    answer, error = await asyncio.to_thread(lambda: _caught(function))
    return _handed_over([(answer, error)])


def _at_once(function: Callable[[], T]) -> Awaitable[T]:
    async def answer() -> T:
        return function()

    return answer()


def _in_a_thread(work: Callable[[], T]) -> T:
    context = contextvars.copy_context()
    ended: list[tuple[T | None, BaseException | None]] = []
    thread = threading.Thread(target=lambda: ended.append(_caught(lambda: context.run(work))), daemon=True)
    thread.start()
    thread.join()
    return _handed_over(ended)


def _run(work: Coroutine[Any, Any, T]) -> T:
    with _new_runner() as runner:
        return runner.run(work)


def _new_runner() -> asyncio.Runner:
    # With a factory of its own it leaves alone what asyncio takes for the thread's current loop.
    return asyncio.Runner(loop_factory=asyncio.new_event_loop)


def _loop_runs_here() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _caught(function: Callable[[], T]) -> tuple[T | None, BaseException | None]:
    try:
        return function(), None
    except StopIteration as error:
        # No future can carry it, and a worker says the same.
        return None, RuntimeError(f"StopIteration came out of a job: {error}")
    except BaseException as error:  # noqa: BLE001  # it is raised again in the thread that asked
        return None, error


def _handed_over(ended: list[tuple[T | None, BaseException | None]]) -> T:
    ((answer, error),) = ended
    if error is not None:
        raise error
    return answer  # type: ignore[return-value]  # without an error it is the function's own answer


def _settle(future: asyncio.Future[Any], answer: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(answer)
    else:
        future.set_exception(error)
