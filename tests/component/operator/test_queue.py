"""The work queue on a loop whose clock is fake."""

from __future__ import annotations

import asyncio

import pytest

from jobworker_operator.model.spec import Key
from jobworker_operator.runtime.queue import FIRST_BACKOFF, LONGEST_BACKOFF, WorkQueue

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]

A, B = Key("shop", "a"), Key("shop", "b")


def now() -> float:
    return asyncio.get_running_loop().time()


async def nothing_within(queue: WorkQueue, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await queue.get()
    except TimeoutError:
        return True
    return False


async def test_a_key_added_many_times_is_handed_out_once() -> None:
    queue = WorkQueue()
    for _ in range(100):
        queue.add(A)
    key, _ = await queue.get()
    assert key == A
    assert queue.depth == 0
    queue.done(A)
    assert await nothing_within(queue, 1000)


async def test_a_key_added_while_busy_waits_until_its_worker_is_done() -> None:
    queue = WorkQueue()
    queue.add(A)
    await queue.get()
    queue.add(A)
    assert await nothing_within(queue, 10), "two workers had the same key"
    queue.done(A)
    assert (await queue.get())[0] == A


async def test_the_soonest_of_several_times_counts() -> None:
    queue = WorkQueue()
    begun = now()
    queue.add_after(A, 30)
    queue.add_after(A, 5)
    queue.add_after(A, 60)
    await queue.get()
    assert now() - begun == pytest.approx(5, abs=0.01)
    queue.done(A)
    assert await nothing_within(queue, 1000), "a later time was still standing"


async def test_a_key_that_comes_early_forgets_its_later_time() -> None:
    queue = WorkQueue()
    queue.add_after(A, 30)
    queue.add(A)
    await queue.get()
    queue.done(A)
    assert await nothing_within(queue, 1000)


async def test_pauses_of_a_failing_key_grow_up_to_a_bound_and_end_with_a_success() -> None:
    queue = WorkQueue()
    queue.add(A)
    pauses = []
    for _ in range(20):
        await queue.get()
        pause = queue.done(A, failed=True)
        assert pause is not None
        pauses.append(pause)
    for number, pause in enumerate(pauses):
        whole = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2**number)
        assert whole / 2 <= pause <= whole
    await queue.get()
    assert queue.done(A) is None
    queue.add(A)
    await queue.get()
    first_again = queue.done(A, failed=True)
    assert first_again is not None
    assert first_again <= FIRST_BACKOFF


async def test_a_timer_that_fires_within_a_tick_of_its_time_has_waited_its_pause_out() -> None:
    # The loop's rounding decides whether a timer is early by a tick, so one key alone seldom shows it.
    for _ in range(300):
        queue = WorkQueue()
        queue.add(A)
        for _ in range(9):
            await queue.get()
            queue.done(A, failed=True)
        await queue.get()
        tenth = queue.done(A, failed=True)
        assert tenth is not None
        assert tenth >= FIRST_BACKOFF * 2**9 / 2


async def test_events_that_bring_a_failing_key_back_early_do_not_lengthen_its_pause() -> None:
    queue = WorkQueue()
    pauses = []
    for _ in range(50):
        queue.add(A)
        await queue.get()
        pauses.append(queue.done(A, failed=True))
    assert all(pause is not None and pause <= FIRST_BACKOFF for pause in pauses)


async def test_a_failing_key_does_not_hold_up_another() -> None:
    queue = WorkQueue()
    queue.add(A)
    await queue.get()
    queue.done(A, failed=True)
    queue.add(B)
    begun = now()
    assert (await queue.get())[0] == B
    assert now() == begun


async def test_a_forgotten_key_does_not_come_back() -> None:
    queue = WorkQueue()
    queue.add_after(A, 5)
    queue.forget(A)
    assert await nothing_within(queue, 1000)
