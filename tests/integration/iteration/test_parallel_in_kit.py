"""A job that is split in the testing kit, as a worker splits it."""

from __future__ import annotations

from collections import Counter
from typing import cast

import pytest
from redis.asyncio import Redis

from jobworker import Client, ParallelJob
from jobworker.protocol.job_states import JobState
from jobworker.protocol.slices import slice_jid
from jobworker.testing import capture, inline, simulate_drain
from tests.integration.iteration.sums import Effects, application, ended
from tests.integration.worker.rig import rigged

pytestmark = pytest.mark.redis


@pytest.fixture
def client(redis: Redis) -> Client:
    return Client(redis)


@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_kit_splits_and_joins_as_a_worker_does(redis: Redis, client: Client, kind: str) -> None:
    effects, in_kit = Effects(), Effects()
    async with rigged(redis, application(effects, kind)) as rig:
        real = await ended(client, await rig.enqueue("Sum", 20, 3))
    app = application(in_kit, kind)
    with capture(app) as jobs:
        jid = await jobs.client.enqueue("Sum", [20, 3])
        await jobs.run()
        waits = await app.progress(jid)
        assert waits is not None
        assert (waits.state, len(jobs.waiting)) == (JobState.WAITING, 3)
        assert await jobs.run_all() == 4
        kit = await app.progress(jid)
    assert kit is not None
    assert (kit.state, kit.processed, kit.total) == (real.state, real.processed, real.total)
    assert [(one.state, one.processed) for one in kit.slices or ()] == [
        (one.state, one.processed) for one in real.slices or ()
    ]
    assert sorted(in_kit.numbers) == sorted(effects.numbers)
    assert (in_kit.splits, in_kit.joined) == (effects.splits, effects.joined)


@pytest.mark.parametrize("kind", ["plain", "async"])
@pytest.mark.parametrize("stop", [20, 0])
async def test_kit_that_runs_jobs_at_once_runs_slices_and_join_too(kind: str, stop: int) -> None:
    effects = Effects()
    with inline(application(effects, kind)) as jobs:
        await jobs.client.enqueue("Sum", [stop, 3])
    assert effects.numbers == list(range(stop))
    assert effects.joined == [(stop, 3)]


async def test_kit_cancels_pauses_and_resumes_a_job_with_its_slices() -> None:
    effects = Effects()
    app = application(effects)
    with capture(app) as jobs:
        jid, other = [await jobs.client.enqueue("Sum", [20, 2]) for _ in range(2)]
        await jobs.run()
        await jobs.run()
        jobs.pause(jid)
        jobs.cancel(other)
        await jobs.run_all()
        assert [job.jid for job in jobs.paused] == [slice_jid(jid, 0), slice_jid(jid, 1)]
        found = await app.progress(other)
        assert found is not None
        assert found.state is JobState.CANCELLED
        assert (effects.numbers, effects.joined) == ([], [])
        jobs.resume(jid)
        await jobs.run_all()
    assert sorted(effects.numbers) == list(range(20))
    assert effects.joined == [(20, 2)]


async def test_kit_holds_the_join_up_for_a_dead_slice() -> None:
    effects = Effects()
    errors = [ValueError("not this one")]

    def fail(number: int) -> None:
        if number == 7 and errors:
            raise errors.pop()

    effects.at = fail
    app = application(effects)
    with capture(app, raise_errors=False) as jobs:
        jid = await jobs.client.enqueue("Sum", [20, 4], retry=1)
        await jobs.run_all()
        assert effects.joined == []
        found = await app.progress(jid)
        assert found is not None
        assert Counter(one.state for one in found.slices or ()) == {JobState.DONE: 3, JobState.RETRYING: 1}
        await jobs.advance(minutes=5)
    assert effects.joined == [(20, 4)]


async def test_slice_is_simulated_by_a_class_that_says_which() -> None:
    effects = Effects()
    job = cast("type[ParallelJob]", application(effects).jobs.get("Sum").target)
    with pytest.raises(TypeError, match=r"slice = \[0, 100\]"):
        await simulate_drain(job, 20, 3, reset=lambda: None, effects=lambda: None)
    one = type("One", (job,), {"slice": [3, 9]})
    simulated = await simulate_drain(one, 20, 3, reset=effects.numbers.clear, effects=lambda: list(effects.numbers))
    assert simulated.items == 6
