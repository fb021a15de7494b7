"""The write budget on a loop whose clock is fake."""

from __future__ import annotations

import asyncio

import pytest

from jobworker_operator.act.budget import WriteBudget

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]


async def test_a_burst_passes_at_once_and_the_rest_at_the_rate() -> None:
    clock = asyncio.get_running_loop().time
    budget = WriteBudget(20, 40, clock)
    begun = clock()
    for _ in range(40):
        await budget.take()
    assert clock() == begun
    for _ in range(100):
        await budget.take()
    assert clock() - begun == pytest.approx(5, rel=0.02)


async def test_tokens_do_not_pile_up_beyond_the_burst() -> None:
    clock = asyncio.get_running_loop().time
    budget = WriteBudget(20, 40, clock)
    await asyncio.sleep(3600)
    begun = clock()
    for _ in range(60):
        await budget.take()
    assert clock() - begun == pytest.approx(1, rel=0.02)


async def test_writers_are_served_in_the_order_in_which_they_came() -> None:
    budget = WriteBudget(1, 1, asyncio.get_running_loop().time)
    served: list[int] = []

    async def write(number: int) -> None:
        await budget.take()
        served.append(number)

    async with asyncio.TaskGroup() as tasks:
        for number in range(10):
            tasks.create_task(write(number))
    assert served == list(range(10))


async def test_a_write_that_can_wait_leaves_half_of_the_burst_to_others() -> None:
    budget = WriteBudget(1, 10, asyncio.get_running_loop().time)
    spared = [budget.take_spare() for _ in range(10)]
    assert spared.count(True) == 5
    assert not budget.take_spare()
