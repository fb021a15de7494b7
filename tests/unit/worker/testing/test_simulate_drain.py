"""The simulation must find what deploys and SIGKILL really break, and pass what bears them."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, ClassVar

import pytest

from jobworker import App, ArgumentsNotJSON, ConfigurationError, IteratingJob, context, list_items
from jobworker.testing import SimulatedDrain, at_least_once, capture, same, simulate_drain, simulate_drain_sync

WORLD: list[Any] = []


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


class BeginsAnew(Appends):
    def build_enumerator(self, number: int, *, cursor: int | None) -> Any:  # noqa: ARG002  # that is its defect
        return list_items(range(1, number + 1), None)


class SkipsOne(Appends):
    """The cursor points behind the next item from the third on."""

    def build_enumerator(self, number: int, *, cursor: int | None) -> Iterator[tuple[int, int]]:
        for index in range(cursor or 0, number):
            yield index + 1, index + 1 + (index == 2)


class Collects(Appends):
    """Writes what it collected when it stops: SIGKILL behind a checkpoint loses it."""

    def on_start(self) -> None:
        self.rows: list[int] = []

    on_resume = on_start

    def each_iteration(self, item: int, number: int) -> None:  # noqa: ARG002  # the same
        self.rows.append(item)

    def on_stop(self) -> None:
        WORLD.extend(self.rows)


class Announces(Appends):
    def each_iteration(self, item: int, number: int) -> None: ...

    def on_complete(self) -> None:
        WORLD.append("done")


class Looks(Appends):
    """Leaves out an item when the worker wants to be rid of it."""

    def each_iteration(self, item: int, number: int) -> None:
        if not context().quiet:
            super().each_iteration(item, number)


class FailsOnResume(Appends):
    def on_resume(self) -> None:
        raise RuntimeError("no connection")


Simulate = Callable[..., Awaitable[SimulatedDrain]]


@pytest.fixture(params=["async", "plain"])
def simulate(request: pytest.FixtureRequest) -> Simulate:
    """`simulate_drain` on the test's loop, and `simulate_drain_sync` in a thread that has none."""

    async def simulated(job: type[IteratingJob], *args: Any, **options: Any) -> SimulatedDrain:
        given = {"reset": WORLD.clear, "effects": lambda: list(WORLD), **options}
        if request.param == "async":
            return await simulate_drain(job, *args, **given)
        return await asyncio.to_thread(lambda: simulate_drain_sync(job, *args, **given))

    return simulated


@pytest.mark.parametrize("job", [Appends, AppendsAsync, Numbers])
async def test_job_that_goes_on_at_its_cursor_bears_every_interruption(
    simulate: Simulate, job: type[IteratingJob]
) -> None:
    report = await simulate(job, 4)
    assert report == SimulatedDrain(items=4, interruptions=5 + 1 + 15, crashes=0)


@pytest.mark.parametrize(
    ("job", "message"),
    [
        pytest.param(
            BeginsAnew,
            r"BeginsAnew: the effects differ when it is interrupted after item 1 of 4 and goes on in a new run\n"
            r"  undisturbed: \[1, 2, 3, 4\]\n  disturbed:   \[1, 1, 2, 3, 4\]",
            id="cursor ignored",
        ),
        pytest.param(
            SkipsOne,
            r"interrupted after item 3 of 4 .*\n  undisturbed: \[1, 2, 3, 4\]\n  disturbed:   \[1, 2, 3\]",
            id="cursor too far",
        ),
        pytest.param(Looks, r"interrupted after item 1 of 4 .*\n.*\n  disturbed:   \[2, 3, 4\]", id="item left out"),
        pytest.param(
            FailsOnResume,
            "raised RuntimeError when it is interrupted before its first item, and not undisturbed: no connection",
            id="raises when it goes on",
        ),
    ],
)
async def test_interruption_that_makes_a_difference_is_named(
    simulate: Simulate, job: type[IteratingJob], message: str
) -> None:
    with pytest.raises(AssertionError, match=message):
        await simulate(job, 4)


async def test_job_that_makes_room_goes_on_in_a_further_run(simulate: Simulate) -> None:
    class Long(Appends):
        max_run_seconds = 0.001

        def each_iteration(self, item: int, number: int) -> None:
            super().each_iteration(item, number)
            time.sleep(0.003)

    assert (await simulate(Long, 3)).items > 0


async def test_tries_of_an_item_are_part_of_what_is_interrupted(simulate: Simulate) -> None:
    class Tries(Appends):
        item_retries = 2
        item_retry_seconds = 0.0

        def each_iteration(self, item: int, number: int) -> None:
            super().each_iteration(item, number)
            if WORLD.count(item) < 3:
                raise ValueError(item)

    assert (await simulate(Tries, 2)).interruptions == 3 + 1 + 6


async def test_second_interruption_alone_may_make_the_difference(simulate: Simulate) -> None:
    class Twice(Appends):
        def on_stop(self) -> None:
            WORLD.append("stop")

    def effects() -> list[Any]:
        return [item for item in WORLD if item != "stop" or WORLD.count("stop") > 2]

    with pytest.raises(AssertionError, match="interrupted after every single item"):
        await simulate(Twice, 3, effects=effects)
    with pytest.raises(AssertionError, match="before its first item and before its first item"):
        await simulate(Twice, 1, effects=effects)


@pytest.mark.parametrize("job", [Appends, AppendsAsync, Numbers])
async def test_sigkill_does_items_twice_and_that_can_be_stated(simulate: Simulate, job: type[IteratingJob]) -> None:
    with pytest.raises(AssertionError, match=r"killed after item 1 of 3, before any checkpoint(.|\n)*\[1, 1, 2, 3\]"):
        await simulate(job, 3, crash=True)
    report = await simulate(job, 3, crash=at_least_once)
    assert report.crashes == 4 + 1 + 6
    once = await simulate(job, 3, crash=True, effects=lambda: set(WORLD))
    assert once.crashes == report.crashes


async def test_what_is_collected_in_memory_is_lost_by_sigkill_behind_a_checkpoint(simulate: Simulate) -> None:
    assert (await simulate(Collects, 3)).interruptions
    with pytest.raises(
        AssertionError,
        match=r"killed after item 1 of 3, its last checkpoint after item 1 of 3 (.|\n)*disturbed:   \[2, 3\]",
    ):
        await simulate(Collects, 3, crash=at_least_once)
    with pytest.raises(AssertionError, match=r"killed after item 1 of 1, its last (.|\n)*disturbed:   \[\]"):
        await simulate(Collects, 1, crash=at_least_once)


async def test_kill_behind_the_end_completes_the_job_again(simulate: Simulate) -> None:
    assert (await simulate(Announces, 2, crash=at_least_once)).crashes == 3 + 1 + 3
    with pytest.raises(AssertionError, match="killed after its end, before Redis hears of it"):
        await simulate(Announces, 2, crash=True)


async def test_long_job_is_disturbed_at_places_that_a_seed_draws(simulate: Simulate) -> None:
    report = await simulate(Appends, 300, crash=at_least_once, most=20)
    assert report.items == 300
    assert 15 <= report.interruptions <= 20
    assert 15 <= report.crashes <= 20


async def test_nothing_to_simulate_is_no_proof(simulate: Simulate) -> None:
    with pytest.raises(AssertionError, match="Appends had no items with these arguments"):
        await simulate(Appends, 0)


async def test_effects_that_differ_by_themselves_are_told(simulate: Simulate) -> None:
    with pytest.raises(AssertionError, match="the effects of two undisturbed runs differ"):
        await simulate(Appends, 2, reset=lambda: None)


async def test_error_of_the_undisturbed_job_comes_out(simulate: Simulate) -> None:
    class Raises(Appends):
        def each_iteration(self, item: int, number: int) -> None:  # noqa: ARG002  # the same
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await simulate(Raises, 2)


async def test_arguments_travel_as_in_production(simulate: Simulate) -> None:
    class Changes(IteratingJob):
        def build_enumerator(self, numbers: list[int], *, cursor: int | None) -> Any:
            return list_items(list(numbers), cursor)

        def each_iteration(self, item: int, numbers: list[int]) -> None:
            numbers.append(item)
            WORLD.append(len(numbers))

    with pytest.raises(ArgumentsNotJSON, match="numbers is a tuple"):
        await simulate(Changes, (1, 2))
    numbers = [1, 2]
    with pytest.raises(AssertionError, match="interrupted after item 1 of 2"):
        await simulate(Changes, numbers)
    assert numbers == [1, 2]


async def test_cursor_that_cannot_travel_is_told(simulate: Simulate) -> None:
    class Pairs(Appends):
        def build_enumerator(self, *_: int, cursor: int | None) -> Iterator[tuple[int, Any]]:  # noqa: ARG002  # the same
            yield 1, {1, 2}

    with pytest.raises(ConfigurationError, match="cannot be written as JSON"):
        await simulate(Pairs, 2)


async def test_enumerators_are_closed_in_killed_runs_too(simulate: Simulate) -> None:
    Numbers.closed = 0
    report = await simulate(Numbers, 3, crash=same, effects=lambda: set(WORLD))
    assert report.crashes == 11
    assert Numbers.closed > report.interruptions + report.crashes


async def test_jobs_that_the_job_enqueues_are_effects_too(simulate: Simulate) -> None:
    app = App("redis://127.0.0.1:1/0")

    @app.job
    def child(number: int) -> None: ...

    class Fans(Appends):
        def each_iteration(self, item: int, number: int) -> None:  # noqa: ARG002  # the same
            child.enqueue_sync(item)

    with capture(app) as jobs:
        given: dict[str, Any] = {"reset": jobs.clear, "effects": lambda: [job.args for job in jobs]}
        assert (await simulate(Fans, 3, crash=at_least_once, **given)).items == 3
        with pytest.raises(AssertionError, match=r"killed after item 1 of 3(.|\n)*\[\[1\], \[1\], \[2\], \[3\]\]"):
            await simulate(Fans, 3, crash=True, **given)


async def test_enumerator_is_closed_before_the_job_stops(simulate: Simulate) -> None:
    class Looks(Numbers):
        def on_stop(self) -> None:
            assert Numbers.closed == Numbers.opened

    Numbers.opened = Numbers.closed = 0
    assert (await simulate(Looks, 3)).items == 3


async def test_effects_and_reset_may_be_async() -> None:
    async def reset() -> None:
        WORLD.clear()

    async def effects() -> list[int]:
        return list(WORLD)

    assert (await simulate_drain(Appends, 2, reset=reset, effects=effects)).items == 2
    report = await asyncio.to_thread(lambda: simulate_drain_sync(Appends, 2, reset=reset, effects=effects))
    assert report.items == 2


@pytest.mark.parametrize("asynchronous", [False, True])
def test_code_of_a_plain_test_stays_in_its_thread(asynchronous: bool) -> None:  # noqa: FBT001  # a parameter
    database = sqlite3.connect(":memory:")  # refuses other threads

    class Inserts(Appends):
        def on_start(self) -> None:
            assert threading.current_thread() is threading.main_thread()

        def each_iteration(self, item: int, number: int) -> None:  # noqa: ARG002  # the same
            database.execute("INSERT INTO seen VALUES (?)", (item,))

    class InsertsAsync(Inserts):
        async def each_iteration(self, item: int, number: int) -> None:  # type: ignore[override]  # async here
            super().each_iteration(item, number)

    def reset() -> None:
        database.executescript("DROP TABLE IF EXISTS seen; CREATE TABLE seen (item)")

    def effects() -> list[Any]:
        return database.execute("SELECT item FROM seen").fetchall()

    job = InsertsAsync if asynchronous else Inserts
    assert simulate_drain_sync(job, 2, reset=reset, effects=effects, crash=at_least_once).items == 2
    database.close()


@pytest.mark.parametrize(
    ("undisturbed", "disturbed", "allowed"),
    [
        pytest.param([1, 2], [2, 1, 1], True, id="again, in another order"),
        pytest.param([1, 2], [1, 1], False, id="missing"),
        pytest.param([1, 1], [1], False, id="too few"),
        pytest.param([1], [1, 3], False, id="new"),
        pytest.param([{"a": 1}], [{"a": 1}, {"a": 1}], True, id="rows"),
        pytest.param({"a": 1}, {"a": 2}, True, id="counted twice"),
        pytest.param({"a": 2}, {"a": 1}, False, id="counted too little"),
        pytest.param({"a": 1}, {"a": 1, "b": 1}, False, id="new key"),
        pytest.param("ab", "aab", False, id="text"),
        pytest.param(True, 2, False, id="truth"),
        pytest.param({1}, {1, 2}, False, id="set"),
    ],
)
def test_at_least_once(undisturbed: Any, disturbed: Any, allowed: bool) -> None:  # noqa: FBT001  # a parameter
    assert at_least_once(undisturbed, disturbed) is allowed


def test_long_effects_are_told_by_their_difference() -> None:
    class Long(Appends):
        def on_resume(self) -> None:
            WORLD.remove("b" * 60)

        def on_start(self) -> None:
            WORLD.extend(letter * 60 for letter in "abc")

    with pytest.raises(AssertionError) as failure:
        simulate_drain_sync(Long, 1, reset=WORLD.clear, effects=lambda: list(WORLD))
    assert f"\n    - '{'b' * 60}',\n" in str(failure.value)


class CleansUp(Appends):
    """Takes everything back when it is cancelled."""

    def on_cancel(self) -> None:
        WORLD.clear()


class CleansUpAsync(AppendsAsync):
    async def on_cancel(self) -> None:
        WORLD.clear()


@pytest.mark.parametrize("job", [CleansUp, CleansUpAsync])
def test_job_that_takes_everything_back_is_cancelled_after_each_item(job: type[Appends]) -> None:
    asked: list[Any] = []

    def promise(undisturbed: Any, cancelled: Any) -> bool:
        asked.append(undisturbed)
        return bool(cancelled == [])

    done = simulate_drain_sync(job, 4, reset=WORLD.clear, effects=WORLD.copy, cancel=promise)
    assert (done.items, done.cancellations, asked) == (4, 5, [[1, 2, 3, 4]] * 5)


def test_job_that_takes_nothing_back_when_it_is_cancelled_is_found_out() -> None:
    with pytest.raises(
        AssertionError, match=r"not what `cancel` promises when it is cancelled after item 1 of 3(.|\n)*\[1\]"
    ):
        simulate_drain_sync(Appends, 3, reset=WORLD.clear, effects=WORLD.copy, cancel=lambda _, found: found == [])


def test_no_item_follows_the_one_during_which_the_job_was_cancelled() -> None:
    lengths: list[int] = []

    def noted(_: Any, cancelled: Any) -> bool:
        lengths.append(len(cancelled))
        return True

    simulate_drain_sync(AppendsAsync, 3, reset=WORLD.clear, effects=WORLD.copy, cancel=noted)
    assert lengths == [0, 1, 2, 3]
