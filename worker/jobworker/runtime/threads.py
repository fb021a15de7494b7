"""Threads for plain functions.

Daemons, unlike those of concurrent.futures: a job that is cut at the end of its time must not keep the process.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")


class Threads:
    """Up to ``size`` threads, started as they are needed."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._calls: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._started = 0

    def submit(self, call: Callable[[], None]) -> None:
        """Have a thread make a call, which must not raise."""
        if self._started < self._size:
            self._started += 1
            threading.Thread(target=self._serve, name=f"jobworker-{self._started}", daemon=True).start()
        self._calls.put(call)

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

    def _serve(self) -> None:
        while True:
            self._calls.get()()

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
