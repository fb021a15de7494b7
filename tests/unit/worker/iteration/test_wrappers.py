from __future__ import annotations

import asyncio
import io
import itertools
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobworker import ConfigurationError, IteratingJob, in_batches, json_lines, list_items, throttled
from jobworker.iteration.run import End, Run
from jobworker.jobs.context import CURRENT, Context, Interruption
from jobworker.testing import MemoryKeeper, Places, simulate_drain, simulate_drain_sync
from tests.resuming import resumed_everywhere, resumed_everywhere_async

JID = "0123456789abcdef01234567"


async def numbers(cursor: int | None) -> AsyncIterator[tuple[int, int]]:
    for number in range(cursor or 0, 7):
        yield number, number + 1


@given(items=st.lists(st.integers(), max_size=12), size=st.integers(1, 5))
def test_batches_go_on_at_any_cursor(items: list[int], size: int) -> None:
    batches = resumed_everywhere(lambda cursor: in_batches(list_items(items, cursor), size))
    assert list(itertools.chain(*batches)) == items
    assert all(len(batch) == size for batch in batches[:-1])
    assert in_batches(list_items(items, None), size).total == len(batches)


async def test_batches_of_an_async_enumerator_go_on_at_any_cursor() -> None:
    assert await resumed_everywhere_async(lambda cursor: in_batches(numbers(cursor), 3)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert in_batches(numbers(None), 3).total is None


def test_job_can_be_changed_from_items_to_batches_on_its_way() -> None:
    lines: Callable[[Any], json_lines[int]] = lambda cursor: json_lines(io.BytesIO(b"1\n2\n3\n4\n5\n"), cursor)  # noqa: E731
    cursors = [cursor for _, cursor in lines(None)]
    assert [batch for batch, _ in in_batches(lines(cursors[1]), 2)] == [[3, 4], [5]]
    (_, cursor) = next(iter(in_batches(lines(None), 2)))
    assert [value for value, _ in lines(cursor)] == [3, 4, 5]


@pytest.mark.parametrize("size", [0, -1])
def test_empty_batches_are_refused(size: int) -> None:
    with pytest.raises(ConfigurationError, match="give 1 or more"):
        in_batches(list_items([1], None), size)


@pytest.mark.parametrize("rate", [0, -1.0, float("nan")])
def test_rate_that_never_ends_is_refused(rate: float) -> None:
    with pytest.raises(ConfigurationError, match="give more than 0"):
        throttled(list_items([1], None), per_second=rate)


@pytest.mark.looptime
async def test_throttled_walk_keeps_to_its_rate_and_does_not_catch_up() -> None:
    clock = asyncio.get_running_loop().time
    began, moments = clock(), []
    async for number, _ in throttled(numbers(None), per_second=0.5):
        moments.append(round(clock() - began, 1))
        await asyncio.sleep(7 if number == 2 else 0.5)
    assert moments == [0, 2, 4, 11, 13, 15, 17]


def test_plain_throttled_walk_keeps_to_its_rate() -> None:
    began = time.monotonic()
    assert [item for item, _ in throttled(list_items([*range(6)], None), per_second=100)] == [*range(6)]
    assert time.monotonic() - began >= 0.05


@given(items=st.lists(st.integers(), max_size=12))
def test_throttled_walk_goes_on_at_any_cursor(items: list[int]) -> None:
    assert resumed_everywhere(lambda cursor: throttled(list_items(items, cursor), per_second=1e9)) == items
    assert throttled(list_items(items, None), per_second=1).total == len(items)


class Slowly(IteratingJob):
    """One item in a quarter of an hour."""

    def __init__(self) -> None:
        self.items: list[int] = []
        self.first = threading.Event()

    def build_enumerator(self, *, cursor: int | None) -> throttled:
        return throttled(list_items([1, 2, 3], cursor), per_second=0.001)

    def each_iteration(self, item: int) -> None:
        self.items.append(item)
        self.first.set()


class SlowlyOnTheLoop(Slowly):
    async def each_iteration(self, item: int) -> None:  # type: ignore[override]  # the other kind of job
        Slowly.each_iteration(self, item)


@pytest.mark.parametrize("kind", [Slowly, SlowlyOnTheLoop])
async def test_worker_that_is_made_quiet_does_not_wait_for_the_wait(kind: type[Slowly]) -> None:
    places, interruption = Places(), Interruption()
    job = kind()
    CURRENT.set(Context(JID, "Slowly", "default", 1, interruption))
    run = asyncio.create_task(Run(job, [], MemoryKeeper(places, JID), interruption, asyncio.to_thread)())
    await asyncio.to_thread(job.first.wait)
    await asyncio.sleep(0)  # the walk is beyond its look at the flag, or about to be: both must leave
    interruption.requested = True
    assert await run is End.INTERRUPTED
    assert job.items == [1]
    again = kind()
    interruption.requested = False
    second = asyncio.create_task(Run(again, [], MemoryKeeper(places, JID), interruption, asyncio.to_thread)())
    await asyncio.to_thread(again.first.wait)
    interruption.requested = True
    assert await second is End.INTERRUPTED
    assert again.items == [2]


def test_plain_job_whose_time_is_over_is_not_kept_by_the_wait() -> None:
    context = Context(JID, "Slowly", "default", 1, Interruption())
    context.overdue = True
    token = CURRENT.set(context)
    try:
        assert len(list(throttled(list_items([1, 2], None), per_second=0.001))) == 2
    finally:
        CURRENT.reset(token)


def test_plain_job_over_an_async_enumerator_is_refused() -> None:
    for walk in (in_batches(numbers(None), 2), throttled(numbers(None), per_second=1)):
        with pytest.raises(ConfigurationError, match="each_iteration is plain, but its enumerator is async"):
            list(walk)


class Watched:
    def __init__(self) -> None:
        self.closed = 0

    def plain(self) -> Iterator[tuple[int, int]]:
        try:
            for number in itertools.count():
                yield number, number + 1
        finally:
            self.closed += 1

    async def asynchronous(self) -> AsyncIterator[tuple[int, int]]:
        try:
            for number in itertools.count():
                yield number, number + 1
        finally:
            self.closed += 1


async def test_whatever_is_wrapped_is_closed_when_the_walk_is_left() -> None:
    watched = Watched()
    plain = iter(in_batches(throttled(watched.plain(), per_second=1e9), 2))
    next(plain)
    plain.close()
    asynchronous = aiter(in_batches(throttled(watched.asynchronous(), per_second=1e9), 2))
    await anext(asynchronous)
    await asynchronous.aclose()
    assert watched.closed == 2


DONE: list[Any] = []


class Batches(IteratingJob):
    def build_enumerator(self, *, cursor: int | None) -> throttled:
        return throttled(in_batches(list_items([*range(7)], cursor), 2), per_second=1e9)

    def each_iteration(self, batch: list[int]) -> None:
        DONE.extend(batch)


class BatchesOnTheLoop(IteratingJob):
    def build_enumerator(self, *, cursor: int | None) -> throttled:
        return throttled(in_batches(numbers(cursor), 2), per_second=1e9)

    async def each_iteration(self, batch: list[int]) -> None:
        DONE.extend(batch)


def test_plain_job_bears_a_deploy_between_batches() -> None:
    report = simulate_drain_sync(Batches, reset=DONE.clear, effects=DONE.copy)
    assert (report.items, DONE) == (4, [*range(7)])


async def test_async_job_bears_a_deploy_between_batches() -> None:
    report = await simulate_drain(BatchesOnTheLoop, reset=DONE.clear, effects=DONE.copy)
    assert (report.items, DONE) == (4, [*range(7)])
