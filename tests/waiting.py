"""Bounded waiting for a condition: the only way in which tests wait."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, overload

T = TypeVar("T")

_PERIOD = 0.02  # seconds between two looks


@overload
async def wait_until(condition: Callable[[], Coroutine[Any, Any, T]], seconds: float = ..., what: str = ...) -> T: ...
@overload
async def wait_until(condition: Callable[[], T], seconds: float = ..., what: str = ...) -> T: ...
async def wait_until(condition: Callable[[], Any], seconds: float = 10, what: str = "") -> Any:
    """The first true answer of ``condition``.

    Raises:
        AssertionError: none came within ``seconds``; it tells the last answer.
    """
    deadline = time.monotonic() + seconds
    while True:
        answer = condition()
        value = await answer if inspect.isawaitable(answer) else answer
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(
                f"{what or getattr(condition, '__name__', 'condition')}: still {value!r} after {seconds} s"
            )
        await asyncio.sleep(_PERIOD)


def wait_until_sync(condition: Callable[[], T], seconds: float = 10, what: str = "") -> T:
    """`wait_until` for tests without an event loop."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(
                f"{what or getattr(condition, '__name__', 'condition')}: still {value!r} after {seconds} s"
            )
        time.sleep(_PERIOD)
    return value
