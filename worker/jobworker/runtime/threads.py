"""Threads for plain functions.

Daemons, unlike those of concurrent.futures: a job that is cut at the end of its time must not keep the process. And as
many as there are calls: a job that was taken away may keep its thread for long, and the next job must not wait for it.
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
    """As many threads as calls at a time, kept for the next ones. How many calls there are is the caller's to bound."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._started = 0

    def submit(self, call: Callable[[], None]) -> None:
        """Have a thread make a call, which must not raise."""
        self._calls.put(call)
        if self._idle.acquire(blocking=False):
            return
        self._started += 1
        threading.Thread(target=self._serve, name=f"jobworker-{self._started}", daemon=True).start()

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
            self._idle.release()

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
