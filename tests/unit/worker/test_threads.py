"""A call never waits for the thread of another."""

from __future__ import annotations

import asyncio
import threading

import pytest

from jobworker.runtime.threads import Threads
from tests.waiting import wait_until


async def test_call_that_nobody_waits_for_any_more_keeps_no_other_from_running() -> None:
    threads, gate = Threads(), threading.Event()
    stuck = [asyncio.create_task(threads.call(gate.wait)) for _ in range(3)]
    await asyncio.sleep(0)
    for task in stuck:
        task.cancel()
    await asyncio.gather(*stuck, return_exceptions=True)
    assert await asyncio.wait_for(threads.call(lambda: 7), 2) == 7
    gate.set()


async def test_threads_are_used_again() -> None:
    threads = Threads()
    names: set[str] = set()
    for _ in range(20):
        names.add(await threads.call(lambda: threading.current_thread().name))
        await wait_until(lambda: len(threads._parked) == len(names), 2)
    assert len(names) == 1


async def test_calls_that_block_find_a_thread_each() -> None:
    threads, all_there = Threads(), threading.Barrier(20)
    await asyncio.wait_for(asyncio.gather(*(threads.call(all_there.wait) for _ in range(20))), 20)


async def test_a_call_that_comes_while_a_thread_goes_to_sleep_is_made() -> None:
    # Thousands of times a call meets a thread that has just found nothing: none may be left lying.
    threads = Threads()
    for number in range(3000):
        assert await asyncio.wait_for(threads.call(lambda number=number: number), 10) == number  # type: ignore[misc]


async def test_stop_iteration_out_of_a_call_is_told() -> None:
    def ends() -> None:
        raise StopIteration("over")

    with pytest.raises(RuntimeError, match="StopIteration came out of a job: over"):
        await Threads().call(ends)
