"""A job whose async enumerator waits for long: it leaves at once where no item shall follow, and loses nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from jobworker import IteratingJob
from jobworker.iteration import waiting
from jobworker.iteration.run import End, Run
from jobworker.jobs.context import CURRENT, Context, Interruption
from jobworker.testing import MemoryKeeper, Places
from tests.waiting import wait_until

JID = "0123456789abcdef01234567"


class Mailbox(IteratingJob):
    """Walks over messages as they arrive."""

    checkpoint_seconds = 3600.0

    def __init__(self) -> None:
        self.arrived: asyncio.Queue[int] = asyncio.Queue()
        self.seen: list[int] = []
        self.asked = 0
        self.closed = False

    def build_enumerator(self, *, cursor: int | None) -> AsyncIterator[tuple[int, int]]:  # noqa: ARG002  # as they arrive
        return self.messages()

    async def messages(self) -> AsyncIterator[tuple[int, int]]:
        try:
            while True:
                self.asked += 1
                message = await self.arrived.get()
                yield message, message
        finally:
            self.closed = True

    async def each_iteration(self, message: int) -> None:
        self.seen.append(message)


class Stage:
    def __init__(self) -> None:
        self.job, self.places, self.interruption = Mailbox(), Places(), Interruption()
        CURRENT.set(Context(JID, "Mailbox", "default", 1, self.interruption))
        self.run = Run(self.job, [], MemoryKeeper(self.places, JID), self.interruption, asyncio.to_thread)
        self.task = asyncio.create_task(self.run())

    async def end(self) -> End:
        return await asyncio.wait_for(self.task, 20)


async def test_job_that_waits_for_a_further_item_leaves_at_once() -> None:
    stage = Stage()
    stage.job.arrived.put_nowait(7)
    await wait_until(lambda: stage.job.asked == 2)
    stage.interruption.change(requested=True)
    assert await stage.end() is End.INTERRUPTED
    assert stage.job.closed
    assert stage.places.of(JID).state.cursor == b"7"
    assert not stage.task.cancelling()


@pytest.mark.parametrize("items", [0, 1])
async def test_job_that_is_cancelled_while_it_waits_ends_at_once(items: int) -> None:
    stage = Stage()
    for item in range(items):
        stage.job.arrived.put_nowait(item)
    await wait_until(lambda: stage.job.asked == items + 1)
    stage.places.cancel(JID)
    stage.run.hurry()
    assert await stage.end() is End.CANCELLED


async def test_run_that_had_no_item_yet_gets_its_first_one_so_that_slow_enumerators_get_on() -> None:
    stage = Stage()
    await wait_until(lambda: stage.job.asked == 1)
    stage.interruption.change(requested=True)
    for _ in range(10):
        await asyncio.sleep(0)
    stage.job.arrived.put_nowait(7)
    assert await stage.end() is End.INTERRUPTED
    assert stage.job.seen == [7]


async def test_run_whose_first_item_does_not_come_leaves_after_some_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "_FIRST_ITEM_SECONDS", 0.05)
    stage = Stage()
    await wait_until(lambda: stage.job.asked == 1)
    stage.interruption.change(requested=True)
    assert await stage.end() is End.INTERRUPTED
    assert stage.job.seen == []


async def test_job_that_is_cut_while_it_leaves_is_cut() -> None:
    stage = Stage()
    stage.job.arrived.put_nowait(7)
    await wait_until(lambda: stage.job.asked == 2)
    stage.interruption.change(requested=True)
    stage.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stage.end()


async def test_item_in_work_is_never_cut_by_the_end_of_a_wait() -> None:
    stage = Stage()
    entered, gate = asyncio.Event(), asyncio.Event()

    async def each_iteration(message: int) -> None:
        entered.set()
        await gate.wait()
        stage.job.seen.append(message)

    stage.job.each_iteration = each_iteration  # type: ignore[method-assign]  # of this one
    stage.job.arrived.put_nowait(7)
    await asyncio.wait_for(entered.wait(), 20)
    stage.interruption.change(requested=True)
    for _ in range(10):
        await asyncio.sleep(0)
    gate.set()
    assert await stage.end() is End.INTERRUPTED
    assert stage.job.seen == [7]
