"""Enumerators of other enumerators' items: several at once, or not more than so many a second."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing
from typing import Any

from jobworker.errors import ConfigurationError
from jobworker.iteration.enumerators.walking import (
    Enumerator,
    async_pairs,
    closed,
    plain_pairs,
    wait_until,
    wait_until_async,
)


class in_batches:  # noqa: N801  # reads as what it is: `return in_batches(csv_rows(path, cursor), 100)`
    """Lists of up to ``size`` items of another enumerator; the cursor is that of the last item in the list.

    So a job may be changed from items to batches, or to batches of another size, while it is under way. Its progress
    counts batches.

    Raises:
        ConfigurationError: the size is below 1.
    """

    def __init__(self, enumerator: Enumerator, size: int) -> None:
        if size < 1:
            raise ConfigurationError(f"in_batches: a batch of {size} items never comes to an end; give 1 or more")
        self._enumerator = enumerator
        self._size = size
        items = getattr(enumerator, "total", None)
        self.total: int | None = None if items is None else math.ceil(items / size)

    def __iter__(self) -> Generator[tuple[list[Any], Any], None, None]:
        batch: list[Any] = []
        cursor = None
        pairs = plain_pairs(self._enumerator)
        try:
            for item, cursor in pairs:
                batch.append(item)
                if len(batch) == self._size:
                    yield batch, cursor
                    batch = []
            if batch:
                yield batch, cursor
        finally:
            closed(pairs)

    async def __aiter__(self) -> AsyncGenerator[tuple[list[Any], Any], None]:
        batch: list[Any] = []
        cursor = None
        async with aclosing(async_pairs(self._enumerator)) as pairs:
            async for item, cursor in pairs:
                batch.append(item)
                if len(batch) == self._size:
                    yield batch, cursor
                    batch = []
            if batch:
                yield batch, cursor


class throttled:  # noqa: N801  # the same: `return throttled(list_items(ids, cursor), per_second=5)`
    """The items of another enumerator, each at least 1 / ``per_second`` seconds after the one before.

    Of this job alone: two jobs that run at once have a rate each. The first item of a run comes at once. A worker that
    is made quiet does not wait for the wait.

    Raises:
        ConfigurationError: the rate is not above 0.
    """

    def __init__(self, enumerator: Enumerator, *, per_second: float) -> None:
        if not per_second > 0:
            raise ConfigurationError(f"throttled: {per_second} items a second never come to an end; give more than 0")
        self._enumerator = enumerator
        self._seconds = 1 / per_second
        self.total: int | None = getattr(enumerator, "total", None)

    def __iter__(self) -> Generator[tuple[Any, Any], None, None]:
        free = -math.inf
        pairs = plain_pairs(self._enumerator)
        try:
            for pair in pairs:
                wait_until(free)
                free = time.monotonic() + self._seconds
                yield pair
        finally:
            closed(pairs)

    async def __aiter__(self) -> AsyncGenerator[tuple[Any, Any], None]:
        free = -math.inf
        clock = asyncio.get_running_loop().time
        async with aclosing(async_pairs(self._enumerator)) as pairs:
            async for pair in pairs:
                await wait_until_async(free)
                free = clock() + self._seconds
                yield pair
