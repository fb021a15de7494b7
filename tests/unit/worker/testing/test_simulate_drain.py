"""The simulation must find what deploys really break, pass what bears them, and run the job as production does."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Iterator
from typing import Any, cast

import pytest

from jobworker import App, ArgumentsNotJSON, ConfigurationError, IteratingJob, context, list_items
from jobworker.testing import SimulatedDrain, at_least_once, simulate_drain, simulate_drain_sync
from tests.unit.worker.testing.appending_jobs import WORLD, Appends, AppendsAsync, Numbers, Simulate


class BeginsAnew(Appends):
    def build_enumerator(self, number: int, *, cursor: int | None) -> Any:  # noqa: ARG002  # that is its defect
        return list_items(range(1, number + 1), None)


class SkipsOne(Appends):
    """The cursor points behind the next item from the third on."""

    def build_enumerator(self, number: int, *, cursor: int | None) -> Iterator[tuple[int, int]]:
        for index in range(cursor or 0, number):
            yield index + 1, index + 1 + (index == 2)


class Looks(Appends):
    """Leaves out an item when the worker wants to be rid of it."""

    def each_iteration(self, item: int, number: int) -> None:
        if not context().quiet:
            super().each_iteration(item, number)


class FailsOnResume(Appends):
    def on_resume(self) -> None:
        raise RuntimeError("no connection")


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
        def each_iteration(self, item: int, number: int) -> None:  # noqa: ARG002  # each item gets the job's arguments
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
        def build_enumerator(self, *_: int, cursor: int | None) -> Iterator[tuple[int, Any]]:  # noqa: ARG002  # a defect of its own
            yield 1, {1, 2}

    with pytest.raises(ConfigurationError, match="cannot be written as JSON"):
        await simulate(Pairs, 2)


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


def test_long_effects_are_told_by_their_difference() -> None:
    class Long(Appends):
        def on_resume(self) -> None:
            WORLD.remove("b" * 60)

        def on_start(self) -> None:
            WORLD.extend(letter * 60 for letter in "abc")

    with pytest.raises(AssertionError) as failure:
        simulate_drain_sync(Long, 1, reset=WORLD.clear, effects=lambda: list(WORLD))
    assert f"\n    - '{'b' * 60}',\n" in str(failure.value)


def test_function_cannot_be_interrupted_between_items_and_what_tests_it_is_told() -> None:
    app = App()

    @app.job
    def mail() -> None: ...

    for target, name in ((mail, "mail"), (mail.__wrapped__, "mail"), (int, "int")):
        with pytest.raises(TypeError, match=rf"simulate_drain .* and {name} is none: .* inline\(\) or capture\(\)"):
            simulate_drain_sync(cast("Any", target), reset=list, effects=list)
