"""Threads for plain functions.

Daemons, unlike those of concurrent.futures: a job that is cut at the end of its time must not keep the process. And as
many as there are calls: a job that was taken away may keep its thread for long, and the next job must not wait for it.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections import deque
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Threads:
    """As many threads as calls at a time, kept for the next ones. How many calls there are is the caller's to bound.

    Waking a thread costs more than most calls that do nothing, and threads that wake together fight for the
    interpreter. So one is woken at once, and another in each turn of the loop while calls are left: calls that block
    find their threads within microseconds, and those that do not are done by the first thread before a second wakes.
    """

    def __init__(self) -> None:
        self._calls: deque[Callable[[], None]] = deque()
        self._parked: list[threading.Lock] = []
        self._spreading = False
        self._waking = False
        self._started = 0
        self._loop = asyncio.get_running_loop()

    def submit(self, call: Callable[[], None]) -> None:
        """Have a thread make a call, which must not raise. For the thread of the event loop."""
        self._calls.append(call)
        if not self._spreading:
            self._spread()

    async def call(self, function: Callable[[], T]) -> T:
        """The function's answer, from a thread that has the caller's context variables."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        context = contextvars.copy_context()

        def work() -> None:
            try:
                answer = context.run(function)
            except StopIteration as error:
                # A future cannot carry it, and inside a coroutine it would end the wrong thing.
                self._settle(loop, _fail, future, RuntimeError(f"StopIteration came out of a job: {error}"))
            except BaseException as error:  # noqa: BLE001  # it is handed on to whoever awaits
                self._settle(loop, _fail, future, error)
            else:
                self._settle(loop, _succeed, future, answer)

        self.submit(work)
        return await future

    def _spread(self) -> None:
        self._spreading = bool(self._calls)
        if not self._spreading:
            return
        if not self._waking:  # else the one that was woken has not come to its senses yet
            self._waking = True
            try:
                self._parked.pop().release()
            except IndexError:
                self._started += 1
                threading.Thread(target=self._serve, name=f"jobworker-{self._started}", daemon=True).start()
        self._loop.call_soon(self._spread)

    def _serve(self) -> None:
        parked = threading.Lock()
        parked.acquire()
        self._waking = False
        while True:
            try:
                call = self._calls.popleft()
            except IndexError:
                self._park(parked)
            else:
                call()
                del call  # it must not outlive its job

    def _park(self, parked: threading.Lock) -> None:
        self._parked.append(parked)
        # RACE a call that came between the look at the calls and the parking found nobody to wake.
        if self._calls:
            try:
                self._parked.remove(parked)
            except ValueError:
                pass  # somebody woke this thread meanwhile
            else:
                return
        parked.acquire()
        self._waking = False

    @staticmethod
    def _settle(loop: asyncio.AbstractEventLoop, settle: Callable[..., None], *args: object) -> None:
        try:
            loop.call_soon_threadsafe(settle, *args)
        except RuntimeError:
            return  # the loop is closed: the process ends and the job was given back


def _succeed(future: asyncio.Future[T], answer: T) -> None:
    if not future.done():
        future.set_result(answer)


def _fail(future: asyncio.Future[T], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
