"""Jobs that go through simulated drains: each appends its items to one list, which is all that they do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, ClassVar

from jobworker import IteratingJob, list_items
from jobworker.testing import SimulatedDrain

WORLD: list[Any] = []
Simulate = Callable[..., Awaitable[SimulatedDrain]]


class Appends(IteratingJob):
    """Bears interruptions, and does items twice after SIGKILL."""

    def build_enumerator(self, number: int, *, cursor: int | None) -> Any:
        return list_items(range(1, number + 1), cursor)

    def each_iteration(self, item: int, number: int) -> Any:  # noqa: ARG002  # each item gets the job's arguments
        WORLD.append(item)


class AppendsAsync(Appends):
    async def each_iteration(self, item: int, number: int) -> None:  # noqa: ARG002  # the same
        await asyncio.sleep(0)
        WORLD.append(item)


class Numbers(AppendsAsync):
    """An async enumerator of its own, built by an async function."""

    opened: ClassVar[int] = 0
    closed: ClassVar[int] = 0

    async def build_enumerator(self, number: int, *, cursor: int | None) -> AsyncIterator[tuple[int, int]]:
        return self.numbers(number, cursor or 0)

    async def numbers(self, number: int, cursor: int) -> AsyncIterator[tuple[int, int]]:
        Numbers.opened += 1
        try:
            for item in range(cursor + 1, number + 1):
                await asyncio.sleep(0)
                yield item, item
        finally:
            Numbers.closed += 1
