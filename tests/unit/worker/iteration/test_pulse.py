"""What a run writes down and when: by time, in a hurry, in the middle of an item, while it waits for the next one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from jobworker import IteratingJob, NotHeld, list_items, throttled
from jobworker.iteration.items import Tries
from jobworker.iteration.progress import JobProgress
from jobworker.iteration.pulse import Pulse
from jobworker.iteration.run import End, Kept, Run
from jobworker.iteration.walks import Position
from jobworker.jobs.context import CURRENT, Context, Interruption
from jobworker.protocol.records import Checkpoint, IterationState
from jobworker.testing import MemoryKeeper, Places
from tests.waiting import wait_until

JID = "0123456789abcdef01234567"


class Notes(MemoryKeeper):
    """Remembers what was written."""

    def __init__(self, places: Places) -> None:
        super().__init__(places, JID)
        self.written: list[Checkpoint] = []

    async def checkpoint(self, state: Checkpoint, *, wait: bool) -> Kept:
        self.written.append(state)
        return await super().checkpoint(state, wait=wait)


class Stage:
    """One run of one job, and who looks at it from outside."""

    def __init__(self, job: IteratingJob, *args: Any) -> None:
        self.places = Places()
        self.keeper = Notes(self.places)
        self.interruption = Interruption()
        CURRENT.set(Context(JID, "Job", "default", 1, self.interruption))
        self.run = Run(job, args, self.keeper, self.interruption, asyncio.to_thread)
        self.task = asyncio.create_task(self.run())

    @property
    def cursors(self) -> list[bytes]:
        return [state.cursor for state in self.keeper.written]


class Gated(IteratingJob):
    """Item ``held`` takes until the test lets it go."""

    checkpoint_seconds = 3600.0
    held = 2

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.reached = threading.Event()
        self.done: list[int] = []

    def build_enumerator(self, *, cursor: int | None) -> Any:
        return list_items(range(4), cursor)

    def each_iteration(self, item: int) -> Any:
        if item == self.held:
            self.reached.set()
            assert self.gate.wait(20)
        self.done.append(item)


class GatedOnTheLoop(Gated):
    async def each_iteration(self, item: int) -> None:
        if item == self.held:
            self.reached.set()
            await wait_until(self.gate.is_set, 20)
        self.done.append(item)


@pytest.fixture(params=[Gated, GatedOnTheLoop], ids=["plain", "async"])
def gated(request: pytest.FixtureRequest) -> Iterator[Gated]:
    job: Gated = request.param()
    yield job
    job.gate.set()


async def test_what_is_done_is_written_at_once_in_the_middle_of_a_long_item(gated: Gated) -> None:
    stage = Stage(gated)
    await wait_until(gated.reached.is_set)
    stage.run.hurry()
    await wait_until(lambda: stage.keeper.written)
    (state,) = stage.keeper.written
    assert (state.cursor, state.progress and state.progress.processed) == (b"2", 2)
    gated.gate.set()
    assert await stage.task is End.COMPLETE
    assert stage.cursors == [b"2", b"3", b"4"], "who is in a hurry wants to hear of the present item too"


async def test_worker_that_becomes_quiet_has_it_written_at_once(gated: Gated) -> None:
    stage = Stage(gated)
    await wait_until(gated.reached.is_set)
    stage.interruption.change(requested=True)
    await wait_until(lambda: stage.cursors == [b"2"])
    gated.gate.set()
    assert await stage.task is End.INTERRUPTED
    assert gated.done == [0, 1, 2]
    assert stage.cursors == [b"2", b"3"]


async def test_checkpoint_in_a_long_item_is_as_old_as_the_item_and_one_between_items_is_young(gated: Gated) -> None:
    gated.checkpoint_seconds = 0.05  # type: ignore[misc]  # of this one
    stage = Stage(gated)
    await wait_until(lambda: len(stage.keeper.written) > 5)
    gated.gate.set()
    await stage.task
    beside, behind = stage.keeper.written[1:-1], stage.keeper.written[-1]
    ages = [state.age_seconds for state in beside if state.cursor == b"2"]
    assert ages == sorted(ages), "of one item the age only grows"
    assert ages[-1] >= ages[0] + 0.05 * (len(ages) - 2), "and by the time that passes"
    assert behind.age_seconds == 0.0
    # Nothing was new in between, so nothing but the stamp was refreshed.
    assert [state.progress for state in beside if state.cursor == b"2"][1:] == [None] * (len(ages) - 1)


async def test_job_in_its_first_item_of_all_has_nothing_to_save(gated: Gated, monkeypatch: pytest.MonkeyPatch) -> None:
    write, looked = Pulse._write_beside, asyncio.Event()

    async def noted(self: Pulse) -> None:
        await write(self)
        looked.set()

    monkeypatch.setattr(Pulse, "_write_beside", noted)
    gated.held = 0
    stage = Stage(gated)
    await wait_until(gated.reached.is_set)
    stage.run.hurry()
    await asyncio.wait_for(looked.wait(), 20)
    assert stage.cursors == []
    gated.gate.set()
    await stage.task
    assert stage.cursors == [b"1", b"4"]


async def test_first_item_of_a_later_run_is_told_with_its_age(gated: Gated) -> None:
    first = Stage(gated)
    await wait_until(gated.reached.is_set)
    first.interruption.change(requested=True)
    gated.gate.set()
    await first.task
    again = type(gated)()
    again.held = 3
    stage = Stage.__new__(Stage)
    stage.keeper = Notes(first.places)
    stage.interruption = Interruption()
    stage.run = Run(again, [], stage.keeper, stage.interruption, asyncio.to_thread)
    task = asyncio.create_task(stage.run())
    await wait_until(again.reached.is_set)
    stage.interruption.change(requested=True)
    await wait_until(lambda: stage.cursors == [b"3"])
    again.gate.set()
    await task


async def test_first_run_that_died_before_any_checkpoint_by_time_is_not_begun_again() -> None:
    called: list[str] = []

    class Begins(Gated):
        held = 0

        def on_start(self) -> None:
            called.append("start")

        def on_resume(self) -> None:
            called.append("resume")

    job = Begins()
    stage = Stage(job)
    await wait_until(lambda: stage.places.of(JID).state.executions == 1)
    stage.keeper.disowned = True  # SIGKILL: nothing of it is heard any more
    job.gate.set()
    with pytest.raises(NotHeld):
        await stage.task
    again = Begins()
    again.gate.set()
    CURRENT.set(Context(JID, "Job", "default", 1, Interruption()))
    await Run(again, [], MemoryKeeper(stage.places, JID), Interruption(), asyncio.to_thread)()
    assert called == ["start", "resume"]
    assert again.done == [0, 1, 2, 3]


class Slowly(IteratingJob):
    """One item in a quarter of an hour."""

    checkpoint_seconds = 0.02

    def build_enumerator(self, *, cursor: int | None) -> throttled:
        return throttled(list_items([1, 2, 3], cursor), per_second=0.001)

    def each_iteration(self, item: int) -> Any: ...


class SlowlyOnTheLoop(Slowly):
    async def each_iteration(self, item: int) -> None: ...


slowly = pytest.mark.parametrize("kind", [Slowly, SlowlyOnTheLoop], ids=["plain", "async"])


@slowly
async def test_checkpoint_of_a_job_that_waits_stays_young(kind: type[Slowly]) -> None:
    stage = Stage(kind())
    await wait_until(lambda: len(stage.keeper.written) >= 5)
    waiting = stage.keeper.written[1:5]
    assert [(state.cursor, state.progress, state.age_seconds) for state in waiting] == [(b"1", None, 0.0)] * 4
    stage.interruption.change(requested=True)
    assert await stage.task is End.INTERRUPTED


@slowly
async def test_job_that_waits_for_its_next_item_obeys_at_once(kind: type[Slowly]) -> None:
    stage = Stage(kind())
    await wait_until(lambda: stage.keeper.written)
    stage.places.cancel(JID)
    stage.run.hurry()
    assert await asyncio.wait_for(stage.task, 20) is End.CANCELLED


@slowly
async def test_job_whose_time_is_over_while_it_waits_makes_room_at_once(kind: type[Slowly]) -> None:
    stage = Stage(type("Short", (kind,), {"max_run_seconds": 0.1})())
    assert await asyncio.wait_for(stage.task, 20) is End.MADE_ROOM


class Retries(IteratingJob):
    """Its item raises, and is tried again after a quarter of an hour."""

    item_retries = 3
    item_retry_seconds = 900.0

    def __init__(self) -> None:
        self.tried = threading.Event()

    def build_enumerator(self, *, cursor: int | None) -> Any:
        return list_items([1], cursor)

    def each_iteration(self, item: int) -> Any:
        self.tried.set()
        raise ValueError(item)


class RetriesOnTheLoop(Retries):
    async def each_iteration(self, item: int) -> None:
        super().each_iteration(item)


@pytest.mark.parametrize("kind", [Retries, RetriesOnTheLoop], ids=["plain", "async"])
async def test_quiet_worker_does_not_wait_for_the_next_try_and_the_tries_go_along(kind: type[Retries]) -> None:
    places = Places()
    for tries in (1, 2, 3):
        job = kind()
        interruption = Interruption()
        CURRENT.set(Context(JID, "Job", "default", 1, interruption))
        task = asyncio.create_task(Run(job, [], MemoryKeeper(places, JID), interruption, asyncio.to_thread)())
        await wait_until(job.tried.is_set)
        interruption.change(requested=True)
        assert await asyncio.wait_for(task, 20) is End.INTERRUPTED
        assert (places.of(JID).state.tries, places.of(JID).processed) == (tries, 0)
    CURRENT.set(Context(JID, "Job", "default", 1, Interruption()))
    with pytest.raises(ValueError, match="1"):
        await Run(kind(), [], MemoryKeeper(places, JID), Interruption(), asyncio.to_thread)()
    assert places.of(JID).state.tries == 0, "the job's own retry begins with all of them"


class Counts(IteratingJob):
    """As fast as it can."""

    checkpoint_seconds = 3600.0

    def build_enumerator(self, number: int, *, cursor: int | None) -> Any:
        return list_items(range(number), cursor)

    def each_iteration(self, item: int, number: int) -> None: ...


async def test_who_looks_from_another_thread_never_sees_half_a_step() -> None:
    stage = Stage(Counts(), 400_000)
    over = threading.Event()
    others = [threading.Thread(target=_hurry, args=(stage.run.hurry, over)) for _ in range(2)]
    for thread in others:
        thread.start()
    try:
        assert await stage.task is End.COMPLETE
    finally:
        over.set()
        for thread in others:
            thread.join()
    seen = [(int(state.cursor), state.progress.processed) for state in stage.keeper.written if state.progress]
    assert len(seen) > 5
    assert all(cursor == processed for cursor, processed in seen)
    assert seen == sorted(seen)


async def test_item_that_is_counted_and_whose_cursor_is_not_stored_yet_is_not_told() -> None:
    job, keeper = Counts(), Notes(Places())
    job.progress = JobProgress()
    position = Position(3, 3)
    pulse = Pulse(job, keeper, position, IterationState(), Tries(), lambda _: None)
    job.progress.processed = 4  # the thread of the walk is just here
    await pulse.flush(wait=False)
    (state,) = keeper.written
    assert (state.cursor, state.progress and state.progress.processed) == (b"3", 3)


@pytest.mark.looptime
async def test_checkpoint_is_no_younger_than_what_the_jobs_own_store_committed() -> None:
    job, keeper, committed = Counts(), Notes(Places()), True
    job.progress = JobProgress()
    pulse = Pulse(job, keeper, Position(3, 3), IterationState(), Tries(), lambda _: None)
    pulse.settled = lambda: committed
    for committed, seconds in ((True, 7), (False, 11), (False, 13), (True, 17)):  # noqa: B007  # the store looks at it
        await asyncio.sleep(seconds)
        await pulse.flush(wait=False)
    assert [state.age_seconds for state in keeper.written] == [0, 11, 24, 0]


def _hurry(hurry: Callable[[], None], over: threading.Event) -> None:
    while not over.wait(0.001):
        hurry()
