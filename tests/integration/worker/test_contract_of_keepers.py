"""What a keeper of places promises, kept by a worker's on a real Redis and by the testing kit's in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from jobworker import App, IteratingJob, NotHeld, list_items
from jobworker.iteration.run import End, Keeper, Kept, Place, Run
from jobworker.jobs.context import Context, Interruption
from jobworker.protocol import payload as payloads
from jobworker.protocol.number_sets import chunks_of, packed
from jobworker.protocol.records import Checkpoint, DoneIds, Entry, Number, Progress, WorkerId
from jobworker.runtime.keeper import RedisKeeper
from jobworker.runtime.life import Life
from jobworker.runtime.link import Link
from jobworker.runtime.running import Running
from jobworker.runtime.settings import Settings
from jobworker.runtime.state import WorkerState
from jobworker.testing import MemoryKeeper, Places
from tests.integration.worker.conftest import KEYS

pytestmark = pytest.mark.redis


class Walk(IteratingJob):
    """Notes what it walked; the third row is wrong. The test interrupts it."""

    def __init__(self) -> None:
        self.walked: list[int] = []
        self.at: Callable[[int], None] = lambda _: None

    def build_enumerator(self, number: int, *, cursor: int | None) -> list_items[int]:
        return list_items(range(number), cursor)

    async def each_iteration(self, item: int, number: int) -> None:  # noqa: ARG002  # each item gets the arguments
        self.walked.append(item)
        if item == 2:
            self.progress.error("wrong", "very wrong")
        self.at(item)


class InMemory:
    def __init__(self) -> None:
        self._places = Places()

    async def keeper(self, jid: str) -> tuple[Keeper, Callable[[], None]]:
        """A keeper of a job that a worker holds, and how it loses the job."""
        keeper = MemoryKeeper(self._places, jid)
        return keeper, lambda: setattr(keeper, "disowned", True)

    async def cancel(self, jid: str) -> None:
        self._places.cancel(jid)


class InRedis:
    def __init__(self, redis: Redis, life: Life) -> None:
        self._redis, self._life = redis, life
        self._app = App()
        self._app.job(name="Walk")(type("Fresh", (Walk,), {}))
        self._number = 0

    async def keeper(self, jid: str) -> tuple[Keeper, Callable[[], None]]:
        self._number += 1
        job = payloads.parse(b'{"class":"Walk","args":[5],"jid":"%b"}' % jid.encode())
        entry = Entry(Number(self._number), "default", 0, job.to_json())
        await self._redis.hset(KEYS.working(WorkerId("a")), str(entry.number), b"0 default\n" + entry.payload)
        run = Running(entry, job, self._app.jobs.get("Walk"), Context(jid, "Walk", "default", 1, Interruption()))
        return RedisKeeper(self._life, Link("redis"), run), lambda: setattr(run, "disowned", True)

    async def cancel(self, jid: str) -> None:
        await self._redis.hset(KEYS.iteration(jid), "cancelled", "1")


Where = InMemory | InRedis


@pytest.fixture(params=["memory", "redis"])
async def where(request: pytest.FixtureRequest, redis: Redis) -> AsyncIterator[Where]:
    if request.param == "memory":
        yield InMemory()
        return
    life = Life(redis, KEYS, WorkerId("a"), Settings(), WorkerState())
    await life.begin()
    yield InRedis(redis, life)


def checkpoint(cursor: bytes, executions: int = 1, progress: Progress | None = None) -> Checkpoint:
    return Checkpoint(cursor, executions, run_seconds=1.5, progress=progress)


async def test_job_that_never_ran_stands_at_its_beginning(where: Where) -> None:
    keeper, _ = await where.keeper("one")
    assert await keeper.load() == Place()
    assert (keeper.held, keeper.disowned) == (True, False)


async def test_next_run_finds_what_the_last_one_wrote(where: Where) -> None:
    keeper, _ = await where.keeper("one")
    progress = Progress(processed=3, failed=1, total=9, errors=((2, ("no name", "no age")),))
    assert await keeper.checkpoint(checkpoint(b'["a",3]', 2, progress), wait=True) is Kept.WRITTEN
    place = await (await where.keeper("one"))[0].load()
    assert (place.state.cursor, place.state.executions, place.state.run_seconds) == (b'["a",3]', 2, 1.5)
    assert (place.processed, place.failed, place.errors) == (3, 1, {2: ("no name", "no age")})
    assert not place.state.cancelled
    assert await (await where.keeper("other"))[0].load() == Place()


async def test_checkpoint_replaces_the_cursor_and_adds_errors(where: Where) -> None:
    keeper, _ = await where.keeper("one")
    first = Progress(processed=2, failed=2, errors=((1, ("a",)), (2, ("b",))))
    await keeper.checkpoint(checkpoint(b"2", 1, first), wait=False)
    second = Progress(processed=4, failed=3, errors=((2, ("b", "c")), (4, ("d",))))
    await keeper.checkpoint(checkpoint(b"4", 1, second), wait=False)
    place = await keeper.load()
    assert place.state.cursor == b"4"
    assert (place.processed, place.failed) == (4, 3)
    assert place.errors == {1: ("a",), 2: ("b", "c"), 4: ("d",)}


async def test_checkpoint_without_progress_leaves_the_progress(where: Where) -> None:
    keeper, _ = await where.keeper("one")
    await keeper.checkpoint(checkpoint(b"2", 1, Progress(processed=2, failed=1, errors=((1, ("a",)),))), wait=True)
    await keeper.checkpoint(checkpoint(b"3"), wait=True)
    place = await keeper.load()
    assert (place.state.cursor, place.processed, place.failed, place.errors) == (b"3", 2, 1, {1: ("a",)})


async def test_cancellation_is_heard_at_the_next_checkpoint_and_by_every_later_run(where: Where) -> None:
    keeper, _ = await where.keeper("one")
    assert await keeper.checkpoint(checkpoint(b"1"), wait=True) is Kept.WRITTEN
    await where.cancel("one")
    assert await keeper.checkpoint(checkpoint(b"2"), wait=True) is Kept.CANCELLED
    place = await (await where.keeper("one"))[0].load()
    assert (place.state.cancelled, place.state.cursor) == (True, b"2")


async def test_cancellation_before_the_first_run_is_heard(where: Where) -> None:
    await where.cancel("one")
    place = await (await where.keeper("one"))[0].load()
    assert (place.state.cancelled, place.state.cursor, place.processed) == (True, None, 0)


async def test_keeper_whose_job_is_somebody_elses_reads_and_writes_nothing(where: Where) -> None:
    keeper, disown = await where.keeper("one")
    await keeper.checkpoint(checkpoint(b"1"), wait=True)
    disown()
    assert (keeper.held, keeper.disowned) == (False, True)
    with pytest.raises(NotHeld, match="job one has another holder"):
        await keeper.checkpoint(checkpoint(b"2"), wait=True)
    with pytest.raises(NotHeld, match="job one has another holder"):
        await keeper.load()
    assert (await (await where.keeper("one"))[0].load()).state.cursor == b"1"


def ids(kind: str, *found: int | str) -> DoneIds:
    numbers = chunks_of(each for each in found if isinstance(each, int))
    return DoneIds(kind, packed(numbers), tuple(each for each in found if isinstance(each, str)))


async def test_done_ids_are_known_by_their_kind_from_the_checkpoint_on_and_counted_once(where: Where) -> None:
    keeper, _ = await where.keeper("one")
    assert await keeper.look_up("user", [0], ["x"]) == ([0], [False])
    first = Progress(processed=1, done=(ids("user", 1, 511, 512, "x"), ids("item", -3)))
    await keeper.checkpoint(checkpoint(b"1", 1, first), wait=True)
    again = Progress(processed=2, done=(ids("user", 1, 2, "x", "y"), ids("item")))
    await keeper.checkpoint(checkpoint(b"2", 1, again), wait=True)
    keeper, _ = await where.keeper("one")
    assert (await keeper.load()).done == {"user": 6, "item": 1}
    assert await keeper.look_up("user", [0, 1, 7], ["x", "z", "y"]) == (
        [0b110 | 1 << 511, 1, 0],
        [True, False, True],
    )
    assert await keeper.look_up("item", [-1], ["x"]) == ([1 << 509], [False])
    assert await (await where.keeper("other"))[0].look_up("user", [0], ["x"]) == ([0], [False])


async def test_ids_noted_at_once_outlive_a_run_that_wrote_no_checkpoint(where: Where) -> None:
    keeper, _ = await where.keeper("one")
    await keeper.note_done([ids("user", 5, "x")])
    place = await (await where.keeper("one"))[0].load()
    assert (place.state.cursor, place.processed, place.done) == (None, 0, {"user": 2})
    assert await keeper.look_up("user", [0], ["x"]) == ([1 << 5], [True])


async def test_more_done_ids_than_one_call_carries_are_all_written(where: Where) -> None:
    keeper, _ = await where.keeper("one")
    many = ids("user", *(f"text-{n}" for n in range(4_500)), *range(0, 512 * 2_500, 512))
    await keeper.checkpoint(checkpoint(b"1", 1, Progress(processed=1, done=(many,))), wait=True)
    assert (await keeper.load()).done == {"user": 7_000}
    _, known = await keeper.look_up("user", [], [f"text-{n}" for n in range(4_501)])
    assert known == [True] * 4_500 + [False]


async def test_keeper_whose_job_is_somebody_elses_notes_no_ids(where: Where) -> None:
    keeper, disown = await where.keeper("one")
    disown()
    with pytest.raises(NotHeld, match="job one has another holder"):
        await keeper.note_done([ids("user", 5)])
    with pytest.raises(NotHeld, match="job one has another holder"):
        await keeper.look_up("user", [0], [])
    assert (await (await where.keeper("one"))[0].load()).done == {}


async def test_rate_goes_on_from_the_run_before(where: Where) -> None:
    keeper, _ = await where.keeper("one")
    await keeper.checkpoint(checkpoint(b"1", 1, Progress(processed=1, rate=12.5)), wait=True)
    assert (await (await where.keeper("one"))[0].load()).rate == 12.5


async def test_walk_is_interrupted_goes_on_and_ends_alike(where: Where) -> None:
    async def walk(at: int | None) -> tuple[End, list[int], Any]:
        job, interruption = Walk(), Interruption()

        def interrupt(item: int) -> None:
            interruption.requested = item == at

        job.at = interrupt
        keeper, _ = await where.keeper("one")
        end = await Run(job, [5], keeper, interruption, asyncio.to_thread)()
        place = await keeper.load()
        return end, job.walked, (place.state.cursor, place.state.executions, place.processed, place.errors)

    errors = {3: ("wrong", "very wrong")}
    assert await walk(2) == (End.INTERRUPTED, [0, 1, 2], (b"3", 1, 3, errors))
    assert await walk(3) == (End.INTERRUPTED, [3], (b"4", 2, 4, errors))
    assert await walk(None) == (End.COMPLETE, [4], (b"5", 3, 5, errors))
