"""Quiet, SIGTERM and SIGKILL: what runs goes on, goes back or runs again, and nothing is lost."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from redis.asyncio import Redis

from jobworker import Client
from jobworker.client.control import carry_out_async
from jobworker.protocol.keys import Keys
from jobworker.protocol.progress import job_progress
from jobworker.protocol.records import Epoch
from jobworker.protocol.scripts import FleetScripts
from tests.integration.worker.conftest import KEYS, StartWorker, Traces
from tests.waiting import wait_until

pytestmark = pytest.mark.redis

ROWS = 400


@pytest.fixture
def table(tmp_path: Path) -> str:
    path = tmp_path / "rows.csv"
    path.write_text("id,note\n" + "".join(f'{n},"a\nb"\n' for n in range(1, ROWS + 1)))
    return str(path)


async def some_rows(traces: Traces, number: int) -> None:
    async def enough() -> bool:
        return len(await traces("rows")) >= number

    await wait_until(enough, 15)


async def test_quiet_is_learned_within_a_second_while_all_slots_are_busy_and_long_jobs_run_on(
    redis: Redis, client: Client, fleet: FleetScripts, traces: Traces, start_worker: StartWorker
) -> None:
    worker = start_worker("a", "-c", "2")
    for name in ("x", "y", "z"):
        await client.enqueue("gated", [name])
    await traces.until_started("x", "y")
    assert await fleet.quiet(worker.identity, "operator: test") == 2
    await wait_until(lambda: "quiet: taking no more jobs" in worker.log, 1)
    async with redis.pubsub() as events:
        await events.subscribe(KEYS.events)
        await traces.open_gate("x")
        await traces.open_gate("y")

        async def drained() -> bool:
            message = await events.get_message(ignore_subscribe_messages=True)
            return message is not None and message["data"] == b"drained a"

        await wait_until(drained, 2)
    activity = await worker.activity(redis)
    answer = await fleet.confirm_drained(worker.identity, "operator: test", activity.epoch)
    assert answer.value == "DRAINED"
    assert await traces("started") == {"x": 1, "y": 1}
    assert worker.process.poll() is None
    await fleet.unquiet(worker.identity)
    await traces.until_started("z", seconds=2)


async def test_operator_hears_at_once_when_a_quiet_worker_becomes_empty(
    redis: Redis, client: Client, fleet: FleetScripts, traces: Traces, start_worker: StartWorker
) -> None:
    worker = start_worker("a")
    async with redis.pubsub() as events:
        await events.subscribe(KEYS.events)

        async def drained() -> bool:
            message = await events.get_message(ignore_subscribe_messages=True)
            return message is not None and message["data"] == b"drained a"

        # A beat by its period would come in time by chance once, but not in every round.
        for name in ("1", "2", "3", "4", "5"):
            await client.enqueue("gated", [name])
            await traces.until_started(name)
            await fleet.quiet(worker.identity, "operator: test")
            await wait_until(lambda: worker.log.count("quiet: taking no more") == int(name), 0.4)  # noqa: B023  # asked here
            await traces.open_gate(name)
            await wait_until(drained, 0.4)
            await fleet.unquiet(worker.identity)
            await wait_until(lambda: worker.log.count("quiet lifted") == int(name), 0.4)  # noqa: B023  # asked here


async def test_quiet_iterating_job_goes_on_elsewhere_with_no_row_lost_or_repeated(
    redis: Redis, client: Client, fleet: FleetScripts, traces: Traces, start_worker: StartWorker, table: str
) -> None:
    first = start_worker("a")
    jid = await client.enqueue("Rows", [table])
    await some_rows(traces, 60)
    await fleet.quiet(first.identity, "operator: test")

    async def empty() -> bool:
        return (await first.activity(redis)).held == 0

    await wait_until(empty, 2)
    assert len(await traces("rows")) < ROWS
    state = await fleet.iteration_state(jid)
    assert state.executions == 1
    start_worker("b")

    async def complete() -> bool:
        return await redis.exists(Keys().iteration(jid)) == 0

    await wait_until(complete, 20)
    assert await traces("rows") == {str(n): 1 for n in range(1, ROWS + 1)}
    progress = await carry_out_async(redis, job_progress(KEYS, jid, errors=None))
    assert progress is not None
    assert (progress.processed, progress.failed, progress.total) == (ROWS, 5, ROWS)
    assert progress.errors[7] == ("no name", "no age")
    assert progress.errors[300] == ("ValueError: round number",)
    assert 0 < await redis.ttl(KEYS.progress(jid)) <= 7 * 24 * 3600


async def test_sigterm_sends_iterating_jobs_back_and_lets_others_end(
    redis: Redis, client: Client, traces: Traces, start_worker: StartWorker
) -> None:
    worker = start_worker("a")
    await client.enqueue("gated", ["x"])
    await client.enqueue("AsyncItems", [40, 20])
    await traces.until_started("x", "held")
    worker.signal(signal.SIGTERM)
    await wait_until(lambda: "stopping: no more jobs" in worker.log, 5)
    await traces.open_gate("held")

    async def given_back() -> bool:
        return await redis.llen(KEYS.queue("default")) == 1

    await wait_until(given_back, 5)
    assert worker.process.poll() is None
    await traces.open_gate("x")
    assert await worker.exit_code() == 0
    assert await traces("items") == {str(n): 1 for n in range(21)}
    start_worker("b")

    async def complete() -> bool:
        return "complete" in await traces("callbacks")

    await wait_until(complete, 15)
    assert await traces("items") == {str(n): 1 for n in range(40)}
    assert await traces("callbacks") == {"start": 1, "resume": 1, "stop": 2, "complete": 1}
    assert await traces("started") == {"x": 1, "held": 1}
    assert await redis.zcard(KEYS.retry) == 0


async def test_jobs_that_outlast_the_shutdown_are_cut_given_back_and_told_by_the_exit_code(
    redis: Redis, client: Client, traces: Traces, start_worker: StartWorker
) -> None:
    worker = start_worker("a", "--shutdown-seconds", "0.3")
    await client.enqueue("gated", ["x"])
    await traces.until_started("x")
    worker.signal(signal.SIGTERM)
    assert await worker.exit_code() == 3
    assert await redis.llen(KEYS.queue("default")) == 1
    start_worker("b")
    await traces.until_started("x", times=2)
    assert await redis.zcard(KEYS.retry) == 0


async def test_sigtstp_makes_the_worker_quiet_here_and_keeps_it_alive(
    redis: Redis, client: Client, traces: Traces, start_worker: StartWorker
) -> None:
    worker = start_worker("a")
    await worker.registered(redis)
    worker.signal(signal.SIGTSTP)
    await wait_until(lambda: "SIGTSTP" in worker.log, 5)
    await client.enqueue("count_async", [1])
    other = start_worker("b", "-q", "other")
    await other.registered(redis)
    assert await redis.llen(KEYS.queue("default")) == 1
    assert (await worker.activity(redis)).alive
    worker.signal(signal.SIGTERM)
    assert await worker.exit_code() == 0


async def test_container_restarted_after_sigkill_runs_its_jobs_again_at_once(
    redis: Redis, client: Client, traces: Traces, start_worker: StartWorker
) -> None:
    first = start_worker("a")
    await client.enqueue("gated", ["x"])
    await traces.until_started("x")
    first.signal(signal.SIGKILL)
    await first.exit_code()
    second = start_worker("a")
    await traces.until_started("x", times=2)  # by its own start, as its log says, and not by the heartbeat
    assert "ended without goodbye" in second.log


async def test_jobs_of_a_killed_worker_are_rescued_by_another_within_fifteen_seconds(
    redis: Redis, client: Client, traces: Traces, start_worker: StartWorker, table: str
) -> None:
    first = start_worker("a")
    await client.enqueue("gated", ["x"])
    await client.enqueue("Rows", [table])
    await traces.until_started("x")
    await some_rows(traces, 100)
    before = await traces("rows")
    second = start_worker("b")
    await second.registered(redis)
    first.signal(signal.SIGKILL)
    await first.exit_code()
    await traces.until_started("x", times=2, seconds=15)

    async def all_rows() -> bool:
        return len(await traces("rows")) == ROWS

    await wait_until(all_rows, 20)
    repeated = {row for row, times in (await traces("rows")).items() if times > 1}
    assert repeated <= before.keys() | {str(n) for n in range(ROWS)}
    assert len(repeated) <= 250, "more rows were repeated than one checkpoint's worth"
    assert (await first.activity(redis)).epoch is None


async def test_worker_taken_for_dead_says_so_and_registers_anew(
    redis: Redis, client: Client, traces: Traces, start_worker: StartWorker
) -> None:
    worker = start_worker("a")
    await client.enqueue("gated", ["x"])
    await traces.until_started("x")
    old = (await worker.activity(redis)).epoch
    await redis.hset(KEYS.record("a"), "epoch", Epoch("somebody-else"))
    await wait_until(lambda: "took this worker for dead" in worker.log, 5)
    await traces.open_gate("x")

    async def new_life() -> bool:
        epoch = (await worker.activity(redis)).epoch
        return epoch not in {old, "somebody-else", None}

    await wait_until(new_life, 5)
    await client.enqueue("count_async", [1])
    await wait_until(lambda: traces("async"), 5)
