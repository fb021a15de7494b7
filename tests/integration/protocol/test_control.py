"""Cancel, pause and resume: where the wish lies, how a job is parked, and every order in which that can race."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

import orjson
import pytest
from redis.asyncio import Redis

from jobworker.client.control import carry_out_async
from jobworker.errors import NotHeld, StaleEpoch
from jobworker.protocol import control
from jobworker.protocol.control import ControlAnswer, Standing, Wanted
from jobworker.protocol.keys import Keys
from jobworker.protocol.limits import QueueLimit, inflight, set_limit
from jobworker.protocol.places import Over, forget
from jobworker.protocol.reading import activities, queue_depths
from jobworker.protocol.records import Checkpoint, Entry, Epoch, Progress, RescueAnswer, Wish, WorkerId
from jobworker.protocol.rescue import Death, rescue
from jobworker.protocol.scripts import FleetScripts, WorkerScripts
from jobworker.protocol.steps import Command, Steps
from tests.integration.protocol.conftest import FLEET, Birth

pytestmark = pytest.mark.redis

JOB = orjson.dumps({"class": "Import", "args": [1], "jid": "jid", "queue": "imports", "enqueued_at": 1.5})

Ask = Callable[[Wanted], Awaitable[ControlAnswer]]


@pytest.fixture
def ask(redis: Redis, keys: Keys) -> Ask:
    async def asked(wanted: Wanted) -> ControlAnswer:
        return await carry_out_async(redis, control.ask(keys, "jid", wanted))

    return asked


async def taken(outside: FleetScripts, worker: WorkerScripts) -> Entry:
    await outside.enqueue("imports", [JOB])
    return (await worker.take(["imports"], 1, 1)).entries[0]


async def park(redis: Redis, keys: Keys, worker: WorkerScripts, entry: Entry) -> bool:
    return await control.park(redis, keys, worker.worker, worker.epoch, entry, "jid")


async def parked(redis: Redis, keys: Keys) -> dict[bytes, bytes]:
    return await cast("Awaitable[dict[bytes, bytes]]", redis.hgetall(keys.parked))


async def queue(redis: Redis, keys: Keys) -> list[bytes]:
    return await cast("Awaitable[list[bytes]]", redis.lrange(keys.queue("imports"), 0, -1))


Cross = Callable[[Sequence[Command]], Awaitable[list[Any]]]


async def crossing(redis: Redis, commands: Sequence[Command]) -> list[Any]:
    return [await cast("Any", redis).execute_command(*command) for command in commands]


async def ended(steps: Steps[ControlAnswer], commands: Sequence[Command], cross: Cross) -> ControlAnswer:
    while True:
        answers = await cross(commands)
        try:
            commands = steps.send(answers)
        except StopIteration as end:
            return cast("ControlAnswer", end.value)


async def test_paused_job_leaves_its_worker_and_its_queue_and_frees_its_slot(
    redis: Redis, keys: Keys, outside: FleetScripts, birth: Birth, ask: Ask
) -> None:
    worker = await birth()
    await set_limit(redis, keys, "imports", QueueLimit(cluster=1))
    entry = await taken(outside, worker)
    assert await ask(Wanted.PAUSE) == ControlAnswer("jid", Standing.RUNNING, worker=worker.worker)
    assert await worker.checkpoint(entry.number, "jid", Checkpoint(b"3", 1, 0.0)) is Wish.PAUSE
    assert await park(redis, keys, worker, entry) is True
    assert (await outside.held(worker.worker), await inflight(redis, keys)) == ((), {})
    assert (await queue_depths(redis, keys, ["imports"]))[0].depth == 0
    (activity,) = await activities(redis, keys, [worker.worker])
    assert (activity.held, activity.checkpoint_age_seconds) == (0, 0)
    (resting,) = await carry_out_async(redis, control.parked_jobs(keys))
    assert (resting.queue, resting.payload) == ("imports", JOB)
    assert resting.parked_at > 1_700_000_000


async def test_resumed_job_is_the_first_of_its_queue_and_wakes_a_worker(
    redis: Redis, keys: Keys, outside: FleetScripts, birth: Birth, ask: Ask
) -> None:
    worker = await birth()
    entry = await taken(outside, worker)
    await ask(Wanted.PAUSE)
    await park(redis, keys, worker, entry)
    await outside.enqueue("imports", [b"waits"])
    await redis.delete(keys.wake("imports"))
    await redis.srem(keys.queues, "imports")
    assert await ask(Wanted.RESUME) == ControlAnswer("jid", Standing.PAUSED)
    assert await redis.llen(keys.wake("imports")) == 1
    assert await redis.smembers(keys.queues) == {b"imports"}
    first, _ = (await worker.take(["imports"], 2, 2)).entries
    resumed = orjson.loads(first.payload)
    assert (resumed.pop("enqueued_at") > 1_700_000_000, resumed) == (
        True, {"class": "Import", "args": [1], "jid": "jid", "queue": "imports", "retry": True},
    )  # fmt: skip
    assert (await outside.iteration_state("jid")).wish is Wish.NONE
    assert await parked(redis, keys) == {}


async def test_cancelled_while_it_rests_it_goes_to_its_queue_to_hear_of_it(
    redis: Redis, keys: Keys, outside: FleetScripts, birth: Birth, ask: Ask
) -> None:
    worker = await birth()
    entry = await taken(outside, worker)
    await ask(Wanted.PAUSE)
    await park(redis, keys, worker, entry)
    assert await ask(Wanted.CANCEL) == ControlAnswer("jid", Standing.PAUSED)
    assert len(await queue(redis, keys)) == 1
    assert (await outside.iteration_state("jid")).wish is Wish.CANCEL
    assert await redis.ttl(keys.iteration("jid")) > 0


async def test_resume_between_the_checkpoint_and_the_parking_lets_the_job_go_on(
    redis: Redis, keys: Keys, outside: FleetScripts, birth: Birth, ask: Ask
) -> None:
    worker = await birth()
    entry = await taken(outside, worker)
    await ask(Wanted.PAUSE)
    assert await worker.checkpoint(entry.number, "jid", Checkpoint(b"3", 1, 0.0)) is Wish.PAUSE
    assert await ask(Wanted.RESUME) == ControlAnswer("jid", Standing.RUNNING, worker=worker.worker)
    assert await park(redis, keys, worker, entry) is False
    assert (await queue(redis, keys), await parked(redis, keys)) == ([JOB], {})
    assert (await outside.held(worker.worker), await inflight(redis, keys)) == ((), {})


async def test_cancel_between_the_checkpoint_and_the_parking_is_not_laid_aside(
    redis: Redis, keys: Keys, outside: FleetScripts, birth: Birth, ask: Ask
) -> None:
    worker = await birth()
    entry = await taken(outside, worker)
    await ask(Wanted.PAUSE)
    await ask(Wanted.CANCEL)
    assert await park(redis, keys, worker, entry) is False
    assert (await queue(redis, keys), await parked(redis, keys)) == ([JOB], {})


async def test_worker_whose_life_is_over_parks_nothing(
    redis: Redis, keys: Keys, outside: FleetScripts, birth: Birth, ask: Ask
) -> None:
    sleeper = await birth()
    entry = await taken(outside, sleeper)
    await ask(Wanted.PAUSE)
    assert (await rescue(outside, sleeper.worker, FLEET, Death(vouched=True))).answer is RescueAnswer.OK
    with pytest.raises(StaleEpoch):
        await park(redis, keys, sleeper, entry)
    assert await parked(redis, keys) == {}
    # Its next holder parks it.
    heir = await birth("pod-2")
    (again,) = (await heir.take(["imports"], 1, 1)).entries
    assert await park(redis, keys, heir, again) is True


async def test_parking_whose_answer_was_lost_parks_once(
    redis: Redis, keys: Keys, outside: FleetScripts, birth: Birth, ask: Ask
) -> None:
    worker = await birth()
    entry = await taken(outside, worker)
    await ask(Wanted.PAUSE)
    await park(redis, keys, worker, entry)
    with pytest.raises(NotHeld):
        await park(redis, keys, worker, entry)
    assert len(await parked(redis, keys)) == 1
    assert await inflight(redis, keys) == {}


async def test_two_people_who_resume_a_job_enqueue_it_once(
    redis: Redis, keys: Keys, outside: FleetScripts, birth: Birth, ask: Ask
) -> None:
    worker = await birth()
    entry = await taken(outside, worker)
    await ask(Wanted.PAUSE)
    await park(redis, keys, worker, entry)
    steps = control.ask(keys, "jid", Wanted.RESUME)
    commands = steps.send(await crossing(redis, next(steps)))
    # It was found parked, and somebody else is faster.
    assert await ask(Wanted.RESUME) == ControlAnswer("jid", Standing.PAUSED)
    answer = await ended(steps, commands, lambda commands: crossing(redis, commands))
    assert answer == ControlAnswer("jid", Standing.WAITING, changed=False)
    assert len(await queue(redis, keys)) == 1


async def test_job_that_is_parked_while_it_is_asked_is_asked_again(
    redis: Redis, keys: Keys, outside: FleetScripts, birth: Birth, ask: Ask
) -> None:
    worker = await birth()
    entry = await taken(outside, worker)
    await ask(Wanted.PAUSE)
    steps = control.ask(keys, "jid", Wanted.RESUME)
    commands = steps.send(await crossing(redis, next(steps)))
    found = await crossing(redis, commands)
    # It was found running, and is parked before its wish is taken back.
    await park(redis, keys, worker, entry)
    commands = steps.send(found)
    assert await ended(steps, commands, lambda commands: crossing(redis, commands)) == ControlAnswer(
        "jid", Standing.PAUSED
    )
    assert len(await queue(redis, keys)) == 1


async def test_foreign_key_where_paused_jobs_lie_costs_no_job(
    redis: Redis, keys: Keys, outside: FleetScripts, birth: Birth
) -> None:
    worker = await birth()
    entry = await taken(outside, worker)
    await redis.hset(keys.iteration("jid"), "paused", "1")
    await redis.set(keys.parked, "somebody's")
    with pytest.raises(Exception, match="WRONGTYPE"):
        await park(redis, keys, worker, entry)
    assert await outside.held(worker.worker) != ()


@pytest.mark.parametrize(
    ("before", "wanted", "expected"),
    [
        ([], Wanted.CANCEL, ControlAnswer("jid", Standing.WAITING)),
        ([], Wanted.PAUSE, ControlAnswer("jid", Standing.WAITING)),
        ([], Wanted.RESUME, ControlAnswer("jid", Standing.WAITING, changed=False)),
        ([Wanted.PAUSE], Wanted.PAUSE, ControlAnswer("jid", Standing.WAITING, changed=False)),
        ([Wanted.PAUSE], Wanted.RESUME, ControlAnswer("jid", Standing.WAITING)),
        ([Wanted.CANCEL], Wanted.CANCEL, ControlAnswer("jid", Standing.CANCELLED, changed=False)),
        ([Wanted.CANCEL], Wanted.PAUSE, ControlAnswer("jid", Standing.CANCELLED, accepted=False, changed=False)),
        ([Wanted.CANCEL], Wanted.RESUME, ControlAnswer("jid", Standing.CANCELLED, accepted=False, changed=False)),
        ([Wanted.PAUSE, Wanted.CANCEL], Wanted.RESUME,
         ControlAnswer("jid", Standing.CANCELLED, accepted=False, changed=False)),
    ],
)  # fmt: skip
async def test_job_that_nobody_holds_finds_what_was_asked_when_it_runs(
    outside: FleetScripts, ask: Ask, before: list[Wanted], wanted: Wanted, expected: ControlAnswer
) -> None:
    for earlier in before:
        await ask(earlier)
    assert await ask(wanted) == expected
    last = Wanted.CANCEL if Wanted.CANCEL in before else wanted
    wish = {Wanted.CANCEL: Wish.CANCEL, Wanted.PAUSE: Wish.PAUSE, Wanted.RESUME: Wish.NONE}[last]
    assert (await outside.iteration_state("jid")).wish is wish


async def test_nothing_is_written_for_a_job_that_is_over(
    redis: Redis, keys: Keys, outside: FleetScripts, birth: Birth, ask: Ask
) -> None:
    worker = await birth()
    entry = await taken(outside, worker)
    await worker.checkpoint(entry.number, "jid", Checkpoint(b"3", 1, 0.0, Progress(processed=3)))
    await redis.hdel(keys.working(worker.worker), str(entry.number))
    await forget(redis, keys, [Over("jid", cancelled=False, seconds=60)])
    for wanted in Wanted:
        assert await ask(wanted) == ControlAnswer("jid", Standing.OVER, accepted=False, changed=False)
    assert await redis.exists(keys.iteration("jid")) == 0


async def test_running_job_that_does_not_iterate_is_left_alone(redis: Redis, keys: Keys, outside: FleetScripts) -> None:
    worker = WorkerScripts(redis, keys, WorkerId("pod-1"), Epoch("e"), FLEET)
    await worker.register(60.0, {"iterating": '["Export"]'})
    entry = await taken(outside, worker)
    for wanted in Wanted:
        refused = ControlAnswer("jid", Standing.NOT_ITERATING, accepted=False, changed=False, worker=worker.worker)
        assert await carry_out_async(redis, control.ask(keys, "jid", wanted)) == refused
    assert await worker.checkpoint(entry.number, "jid", Checkpoint(b"1", 1, 0.0)) is Wish.NONE
