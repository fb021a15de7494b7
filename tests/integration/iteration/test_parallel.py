"""A job that is split into slices and joined once, whatever dies, fails, rests or is cancelled in between."""

from __future__ import annotations

import io
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any, cast

import orjson
import pytest
from redis.asyncio import Redis
from rich.console import Console

from jobworker import App, Client, ConfigurationError, Context, ParallelJob, split_range
from jobworker.cli import job_control
from jobworker.cli.progress import described, frame
from jobworker.protocol import payload as payloads
from jobworker.protocol.control import Standing, Wanted
from jobworker.protocol.job_states import JobState
from jobworker.protocol.keys import Keys
from jobworker.protocol.progress import JobProgress
from jobworker.protocol.slices import slice_jid
from jobworker.testing import capture
from tests.integration.iteration.sums import Effects, application, ended
from tests.integration.worker.rig import rigged
from tests.waiting import wait_until

pytestmark = pytest.mark.redis

KEYS = Keys()


@pytest.fixture
def client(redis: Redis) -> Client:
    return Client(redis)


@pytest.mark.parametrize("kind", ["plain", "async"])
@pytest.mark.parametrize(("stop", "parts"), [(100, 7), (3, 10), (1, 1), (0, 5)])
async def test_slices_are_walked_and_joined_once(
    redis: Redis, client: Client, kind: str, stop: int, parts: int
) -> None:
    effects = Effects()
    async with rigged(redis, application(effects, kind)) as rig:
        jid = await rig.enqueue("Sum", stop, parts)
        found = await ended(client, jid)
        await wait_until(rig.holds_nothing, 5)
    assert sorted(effects.numbers) == list(range(stop))
    assert effects.splits == effects.joined == [(stop, parts)]
    assert (found.state, found.processed, found.total) == (JobState.DONE, stop, stop)
    left = cast("list[bytes]", await redis.keys("*it-*"))
    assert left == []


async def test_whole_job_takes_no_slot_while_its_slices_run(redis: Redis, client: Client) -> None:
    effects, gate = Effects(), threading.Event()
    effects.at = lambda _: cast("None", gate.wait(20))
    async with rigged(redis, application(effects), concurrency=1) as rig:
        jid = await rig.enqueue("Sum", 4, 2)

        async def slice_runs() -> JobProgress | None:
            found = await client.progress(jid)
            return found if found is not None and found.state is JobState.RUNNING and found.slices else None

        found = await wait_until(slice_runs, 10)
        assert found is not None
        assert found.slices is not None
        assert [one.state for one in found.slices] == [JobState.RUNNING, JobState.WAITING]
        await wait_until(
            lambda: [run.payload.jid for run in rig.executor.running.values()] == [slice_jid(jid, 0)], 10, "one job"
        )
        gate.set()
        await ended(client, jid)
    assert effects.joined == [(4, 2)]


async def requeue(redis: Redis, key: str) -> dict[str, Any]:
    """What somebody does who retries the job of a set now."""

    async def there() -> list[bytes]:
        return cast("list[bytes]", await redis.zrange(key, 0, -1))

    (raw,) = await wait_until(there, 10)
    await redis.zrem(key, raw)
    await redis.lpush(KEYS.queue("default"), raw)
    return cast("dict[str, Any]", orjson.loads(raw))


async def test_dead_slice_holds_the_join_up_until_it_is_retried(redis: Redis, client: Client) -> None:
    effects = Effects()
    errors = {17: ValueError("not this one")}

    def fail(number: int) -> None:
        if error := errors.pop(number, None):
            raise error

    effects.at = fail
    async with rigged(redis, application(effects)):
        jid = await client.enqueue("Sum", [40, 4], retry=0)

        async def waits() -> JobProgress | None:
            found = await client.progress(jid)
            assert found is None or not found.state.over
            states = Counter(one.state for one in (found.slices if found else None) or ())
            return found if states == {JobState.DONE: 3, JobState.FAILED: 1} else None

        found = await wait_until(waits, 10)
        assert found is not None
        assert (found.state, found.processed, found.total) == (JobState.WAITING, 37, 40)
        assert effects.joined == []
        shown = io.StringIO()
        Console(file=shown, width=200).print(frame(found))
        assert "4 slices: 3 done, 1 failed" in shown.getvalue()
        assert f"waits for 1 dead slice: jobworker jobs retry {slice_jid(jid, 1)}" in shown.getvalue()
        assert [one["state"] for one in described(found)["slices"]] == ["done", "failed", "done", "done"]
        payload = await requeue(redis, KEYS.dead)
        assert payload["jid"] == slice_jid(jid, 1)
        assert (await ended(client, jid)).state is JobState.DONE
    assert Counter(effects.numbers) == Counter(range(40))
    assert effects.joined == [(40, 4)]


async def test_cancelled_job_cancels_its_slices_and_is_never_joined(redis: Redis, client: Client) -> None:
    effects, reached, gate = Effects(), threading.Event(), threading.Event()

    def wait(_: int) -> None:
        reached.set()
        gate.wait(20)

    effects.at = wait
    async with rigged(redis, application(effects), concurrency=2) as rig:
        jid = await rig.enqueue("Sum", 1_000, 10)
        await wait_until(reached.is_set, 10)
        answer = await client.cancel(jid)
        assert answer.accepted
        gate.set()
        found = await ended(client, jid)
        await wait_until(rig.holds_nothing, 5)
        assert found.state is JobState.CANCELLED
        assert found.slices is not None
        assert {one.state for one in found.slices} == {JobState.CANCELLED}
        assert len(effects.numbers) <= 2
        assert sorted(effects.cancelled) == split_range(0, 1_000, 10)
        assert effects.joined == []
        assert await redis.exists(KEYS.iteration(jid)) == 0
        assert (await client.cancel(jid)).standing is Standing.OVER


async def test_slice_that_was_cancelled_cancels_the_whole_job_once_the_others_are_done(
    redis: Redis, client: Client
) -> None:
    effects, gate = Effects(), threading.Event()
    effects.at = lambda _: cast("None", gate.wait(20))
    async with rigged(redis, application(effects), concurrency=1) as rig:
        jid = await rig.enqueue("Sum", 40, 4)

        async def split() -> bool:
            return await redis.exists(KEYS.slices(jid)) == 1

        await wait_until(split, 10)
        await client.cancel(slice_jid(jid, 2))
        gate.set()
        found = await ended(client, jid)
    assert found.state is JobState.CANCELLED
    assert sorted(effects.numbers) == [number for number in range(40) if not 20 <= number < 30]
    assert effects.joined == []


@pytest.mark.parametrize("where", ["worker", "kit"])
async def test_slice_that_fails_and_is_kept_nowhere_cancels_the_whole_job(
    redis: Redis, client: Client, where: str
) -> None:
    effects = Effects()

    def fail(number: int) -> None:
        if number == 17:
            raise ValueError("not this one")

    effects.at = fail
    app = application(effects)
    if where == "kit":
        with capture(app, raise_errors=False) as jobs:
            jid = await jobs.client.enqueue("Sum", [40, 4], retry=False)
            await jobs.run_all()
            found = await app.progress(jid)
    else:
        async with rigged(redis, app):
            jid = await client.enqueue("Sum", [40, 4], retry=False)
            found = await ended(client, jid)
    assert found is not None
    assert found.state is JobState.CANCELLED
    assert sorted(effects.numbers) == [number for number in range(40) if not 17 <= number < 20]
    assert effects.joined == []


async def test_paused_job_rests_with_its_slices_until_it_is_resumed(redis: Redis, client: Client) -> None:
    effects, reached, gate = Effects(), threading.Event(), threading.Event()

    def wait(_: int) -> None:
        reached.set()
        gate.wait(20)

    effects.at = wait
    async with rigged(redis, application(effects), concurrency=2) as rig:
        jid = await rig.enqueue("Sum", 100, 5)
        await wait_until(reached.is_set, 10)

        async def only_slices_are_held() -> bool:
            held = await rig.life.fleet.held(rig.life.worker)
            return all(payloads.parse(entry.payload).jid != jid for entry in held)

        await wait_until(only_slices_are_held, 10)
        told = await job_control.ask(redis, KEYS, jid, Wanted.PAUSE)
        assert told.words.startswith("waits for 5 of its slices: each of them rests after the item")
        gate.set()

        async def rests() -> bool:
            found = await client.progress(jid)
            return found is not None and found.state is JobState.PAUSED

        await wait_until(rests, 10)
        assert await rig.held() == 0
        before = len(effects.numbers)
        assert before < 100
        await client.resume(jid)
        assert (await ended(client, jid)).state is JobState.DONE
    assert Counter(effects.numbers) == Counter(range(100))
    assert effects.joined == [(100, 5)]


@pytest.mark.parametrize("wish", ["cancel", "pause"])
async def test_what_is_asked_before_the_job_is_split_is_obeyed(redis: Redis, client: Client, wish: str) -> None:
    effects = Effects()
    jid = await client.enqueue("Sum", [10, 2])
    await getattr(client, wish)(jid)
    async with rigged(redis, application(effects)):
        if wish == "cancel":
            assert (await ended(client, jid)).state is JobState.CANCELLED
            assert effects.cancelled == [None]
        else:

            async def rests() -> bool:
                return bool(await redis.hexists(KEYS.parked, jid))

            await wait_until(rests, 10)
            await client.resume(jid)
            await ended(client, jid)
    assert effects.joined == ([] if wish == "cancel" else [(10, 2)])


async def test_join_that_raises_is_tried_again_without_its_slices(redis: Redis, client: Client) -> None:
    effects = Effects()
    app = application(effects)
    job = cast("type[ParallelJob]", app.jobs.get("Sum").target)
    errors = [ValueError("not yet")]
    on_joined = job.on_joined

    def fail_once(self: ParallelJob, *args: Any) -> Any:
        if errors:
            raise errors.pop()
        return on_joined(self, *args)

    job.on_joined = fail_once  # type: ignore[method-assign]  # for this test
    async with rigged(redis, app) as rig:
        jid = await rig.enqueue("Sum", 10, 2)
        assert (await requeue(redis, KEYS.retry))["jid"] == jid
        await ended(client, jid)
    assert Counter(effects.numbers) == Counter(range(10))
    assert effects.joined == [(10, 2)]
    assert effects.splits == [(10, 2)]


async def test_what_client_middleware_added_reaches_every_slice_and_the_join(redis: Redis, client: Client) -> None:
    effects = Effects()
    seen: list[tuple[Any, Any]] = []
    app = application(effects, queue="imports", retry=3)

    @app.middleware
    def note(context: Context) -> Iterator[None]:
        seen.append((context.queue, context.extra.get("tenant")))
        yield

    async with rigged(redis, app, queues="imports") as rig:
        jid = await client.enqueue("Sum", [10, 3], queue="imports", retry=3, tenant="acme")
        await ended(client, jid)
        await wait_until(rig.holds_nothing, 5)
    assert seen == [("imports", "acme")] * 5


@pytest.mark.parametrize("slices", [7, "abc", b"abc", {"a": 1}, None, [0] * 10_001, [object()]])
async def test_slices_that_cannot_be_are_refused_by_what_is_wrong(redis: Redis, slices: Any) -> None:
    effects = Effects()
    app = application(effects)
    app.jobs.get("Sum").target.split = lambda *_: slices  # type: ignore[attr-defined]  # for this test
    async with rigged(redis, app) as rig:
        await rig.enqueue("Sum", 10, 3)
        body = await requeue(redis, KEYS.retry)
        rig.state.be_quiet_here()
    assert body["error_class"] in {"ConfigurationError", "ArgumentsNotJSON"}
    assert "Sum" in body["error_message"]
    assert await redis.keys("jw:slices*") == []


def test_ranges_cover_every_number_once_in_parts_of_about_the_same_size() -> None:
    assert split_range(0, 10, 3) == [[0, 3], [3, 6], [6, 10]]
    assert split_range(5, 7, 10) == [[5, 6], [6, 7]]
    assert split_range(7, 7, 3) == split_range(9, 7, 3) == []
    with pytest.raises(ValueError, match="at least one"):
        split_range(0, 10, 0)


def test_parallel_job_without_split_is_refused_when_it_is_registered() -> None:
    class Lacks(ParallelJob):
        def build_enumerator(self, *, cursor: int | None) -> Any:
            raise NotImplementedError

        def each_iteration(self, number: int) -> None:
            raise NotImplementedError

    with pytest.raises(ConfigurationError, match="does not define split"):
        App().job(Lacks)
