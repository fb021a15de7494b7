"""The simulation must find what SIGKILL and a cancellation really break, and pass what bears them or was allowed."""

from __future__ import annotations

from typing import Any

import pytest

from jobworker import App, IteratingJob
from jobworker.testing import at_least_once, capture, same, simulate_drain_sync
from tests.unit.worker.testing.appending_jobs import WORLD, Appends, AppendsAsync, Numbers, Simulate


class Collects(Appends):
    """Writes what it collected when it stops: SIGKILL behind a checkpoint loses it."""

    def on_start(self) -> None:
        self.rows: list[int] = []

    on_resume = on_start

    def each_iteration(self, item: int, number: int) -> None:  # noqa: ARG002  # each item gets the job's arguments
        self.rows.append(item)

    def on_stop(self) -> None:
        WORLD.extend(self.rows)


class Announces(Appends):
    def each_iteration(self, item: int, number: int) -> None: ...

    def on_complete(self) -> None:
        WORLD.append("done")


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
