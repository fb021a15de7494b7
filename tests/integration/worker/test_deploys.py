"""One deploy after the other, sooner than a job could end: it gets on in each, and nobody holds it against it."""

from __future__ import annotations

import signal

import orjson
import pytest
from redis.asyncio import Redis

from jobworker import Client
from jobworker.client.control import carry_out_async
from jobworker.protocol.keys import Keys
from jobworker.protocol.progress import job_progress
from jobworker.protocol.scripts import FleetScripts
from tests.integration.worker.conftest import KEYS, StartWorker, Traces, WorkerProcess
from tests.waiting import wait_until

pytestmark = pytest.mark.redis

ITEMS = 3_000
DEPLOYS = 6
GETS_ON = 5  # items at least that each deploy lets it do


@pytest.mark.parametrize("job", ["Deployed", "DeployedAsync"])
async def test_job_interrupted_by_one_deploy_after_the_other_gets_on_in_each_and_ends(
    redis: Redis, client: Client, fleet: FleetScripts, traces: Traces, start_worker: StartWorker, job: str
) -> None:
    worker = start_worker("deploy-0")
    jid = await client.enqueue(job, [ITEMS])
    for deploy in range(1, DEPLOYS + 1):
        done = len(await traces("items"))

        async def got_on(done: int = done) -> bool:
            return len(await traces("items")) >= done + GETS_ON

        await wait_until(got_on, 30, f"the job gets on in deploy {deploy}")
        worker = await _deploy(worker, f"deploy-{deploy}", redis, fleet, start_worker, quiet=deploy % 2 == 0)
        state = await fleet.iteration_state(jid)
        assert state.executions >= deploy
        assert state.cursor is not None
    await traces.open_gate("fast")

    async def complete() -> bool:
        return not await redis.exists(KEYS.iteration(jid)) and await fleet.held(worker.identity) == ()

    await wait_until(complete, 40)
    assert await traces("items") == {str(item): 1 for item in range(ITEMS)}, "an item was lost, or done twice"
    assert await traces("callbacks") == {"resume": DEPLOYS}
    progress = await carry_out_async(redis, job_progress(KEYS, jid, errors=None))
    assert progress is not None
    assert (progress.processed, progress.total) == (ITEMS, ITEMS)
    counted = [await redis.get(Keys().stat(name)) for name in ("processed", "failed")]
    assert [int(count or 0) for count in counted] == [1, 0]
    assert await redis.zcard(KEYS.retry) == await redis.zcard(KEYS.dead) == 0


async def _deploy(
    old: WorkerProcess, name: str, redis: Redis, fleet: FleetScripts, start_worker: StartWorker, *, quiet: bool
) -> WorkerProcess:
    """A new process takes the place of the old one, which goes as the operator lets it go, or as anybody would."""
    new = start_worker(name)
    await new.registered(redis)
    if quiet:
        await fleet.quiet(old.identity, "operator: Rollout")

    async def taken_over() -> bool:
        return await fleet.held(new.identity) != ()

    if not quiet:
        old.signal(signal.SIGTERM)
    await wait_until(taken_over, 30)
    if quiet:
        old.signal(signal.SIGTERM)
    assert await old.exit_code() == 0
    (entry,) = await fleet.held(new.identity)
    assert {"retry_count", "failed_at", "jw_deaths"}.isdisjoint(orjson.loads(entry.payload)), "it counts as a failure"
    return new
