"""`jobworker jobs cancel`, `pause` and `resume`: what they write, and what they say of a job wherever it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest
import redis
from click.testing import Result

from jobworker.protocol.keys import Keys
from tests.redis_server import RedisServer

pytestmark = pytest.mark.redis

KEYS = Keys()
JID = "0123456789abcdef01234567"

Jobworker = Callable[..., Result]


@pytest.fixture
def database(redis_server: RedisServer) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
        client.sadd(KEYS.workers, "pod-1")
        record: dict[Any, Any] = {"epoch": "e", "beat": time.time(), "queues": "imports,2", "iterating": '["Import"]'}
        client.hset(KEYS.record("pod-1"), mapping=record)
        yield client


def payload(jid: str = JID, job_class: str = "Import") -> bytes:
    return orjson.dumps({"class": job_class, "args": ["a.csv"], "jid": jid, "queue": "imports", "retry": True})


def running(database: redis.Redis, job: bytes) -> None:
    database.hset(KEYS.working("pod-1"), "1", b"1700000000000 imports\n" + job)


def resting(database: redis.Redis, job: bytes, jid: str = JID) -> None:
    database.hset(KEYS.iteration(jid), "paused", "1")
    database.hset(KEYS.parked, jid, b"1700000000000 imports\n" + job)


def queued(database: redis.Redis, *jobs: bytes) -> None:
    database.sadd(KEYS.queues, "imports")
    database.lpush(KEYS.queue("imports"), *jobs)


def ended(database: redis.Redis) -> None:
    database.hset(KEYS.progress(JID), mapping={"processed": 3, "end": "done"})


def cancelled(database: redis.Redis) -> None:
    running(database, payload())
    database.hset(KEYS.iteration(JID), "cancelled", "1")


def to_rest(database: redis.Redis) -> None:
    running(database, payload())
    database.hset(KEYS.iteration(JID), "paused", "1")


def others_in_front(database: redis.Redis) -> None:
    queued(database, payload("other"), payload())


SITUATIONS: dict[str, Callable[[redis.Redis], object]] = {
    "running": lambda database: running(database, payload()),
    "running and to rest": to_rest,
    "resting": lambda database: resting(database, payload()),
    "queued": others_in_front,
    "scheduled": lambda database: database.zadd(KEYS.schedule, {payload(): time.time() + 10_000}),
    "to be retried": lambda database: database.zadd(KEYS.retry, {payload(): time.time() + 10_000}),
    "cancelled": cancelled,
    "over": ended,
}  # fmt: skip


@pytest.mark.parametrize(
    ("action", "situation", "code", "words"),
    [
        ("cancel", "running", 0, "runs on pod-1, and ends after the item that it is at"),
        ("cancel", "resting", 0, "rested, and is the next one of its queue: it calls on_cancel and ends"),
        ("cancel", "queued", 0, "waits in the queue imports at place 2: it ends without an item"),
        ("cancel", "scheduled", 0, "is due in 2h"),
        ("cancel", "to be retried", 0, "is tried again in 2h"),
        ("cancel", "cancelled", 0, "was cancelled before"),
        ("cancel", "over", 1, "has ended: there is nothing to cancel"),
        ("pause", "running", 0, "runs on pod-1, and rests after the item that it is at"),
        ("pause", "running and to rest", 0, "runs on pod-1, and was paused before"),
        ("pause", "resting", 0, "rests already"),
        ("pause", "queued", 0, "waits in the queue imports at place 2: it rests when a worker takes it"),
        ("pause", "cancelled", 1, "was cancelled before, which is final"),
        ("pause", "over", 1, "has ended"),
        ("resume", "running", 0, "runs on pod-1, and was not paused"),
        ("resume", "running and to rest", 0, "goes on: it was to rest and does not any more"),
        ("resume", "resting", 0, "goes on: it is the next one of its queue"),
        ("resume", "queued", 0, "waits in the queue imports at place 2, and was not paused"),
    ],
)
def test_job_is_asked_where_it_is(
    jobworker: Jobworker, database: redis.Redis, action: str, situation: str, code: int, words: str
) -> None:
    SITUATIONS[situation](database)
    done = jobworker("jobs", action, JID, code=code)
    said = done.stdout if code == 0 else done.stderr
    assert said.startswith(f"{'' if code == 0 else 'Error: '}{JID} ")
    assert words in said
    if code == 0 and situation != "resting" and action != "resume":
        assert database.hexists(KEYS.iteration(JID), {"cancel": "cancelled", "pause": "paused"}[action])


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("running", "and goes on to its end or its `timeout`; `jobworker queues pause imports` holds up"),
        (
            "queued",
            "as Mail, no iterating job of any worker, which has no items to stop after; `jobworker queues",
        ),
        (
            "schedule",
            "as Mail, no iterating job of any worker, which has no items to stop after; `jobworker jobs",
        ),
        ("dead", "is dead: it failed for good"),
        ("nowhere", "is not known: it neither runs nor rests nor waits"),
    ],
)
@pytest.mark.parametrize("action", ["cancel", "pause", "resume"])
def test_job_that_cannot_obey_is_left_alone_and_it_is_said_what_can_be_done(
    jobworker: Jobworker, database: redis.Redis, action: str, place: str, words: str
) -> None:
    mail = payload(job_class="Mail")
    if place == "running":
        running(database, mail)
    elif place == "queued":
        queued(database, mail)
    elif place in {"schedule", "dead"}:
        database.zadd(place, {mail: time.time() + 100})
    assert words in jobworker("jobs", action, JID, code=1).stderr
    assert not database.exists(KEYS.iteration(JID))


def test_job_of_a_queue_that_no_worker_takes_now_is_asked_whatever_its_class(
    jobworker: Jobworker, database: redis.Redis
) -> None:
    database.hset(KEYS.record("pod-1"), "queues", "mails,1")
    queued(database, payload(job_class="Export"))
    assert "it rests when a worker takes it" in jobworker("jobs", "pause", JID).stdout


def test_several_jobs_are_asked_and_machines_are_told_of_each(jobworker: Jobworker, database: redis.Redis) -> None:
    running(database, payload())
    done = jobworker("jobs", "pause", JID, "nobody", JID, "--json", code=1)
    asked: dict[str, Any] = orjson.loads(done.stdout)
    assert asked["action"] == "pause"
    first, second = asked["jobs"]
    assert (first.pop("message")[:13], first) == (
        "runs on pod-1",
        {"id": JID, "accepted": True, "changed": True, "standing": "running", "worker": "pod-1"},
    )
    assert (second["id"], second["accepted"], second["standing"]) == ("nobody", False, None)


def test_paused_jobs_are_counted_listed_and_shown(jobworker: Jobworker, database: redis.Redis) -> None:
    resting(database, payload())
    resting(database, payload("other", "Export"), "other")
    assert orjson.loads(jobworker("jobs", "--json").stdout)["jobs"]["paused"] == 2
    assert orjson.loads(jobworker("stats", "--json").stdout)["paused"] == 2
    assert "paused" in jobworker("top", "--once").stdout
    listed = orjson.loads(jobworker("jobs", "list", "paused", "--class", "Import", "--json").stdout)
    (job,) = listed["jobs"]
    assert (job["id"], job["set"], job["queue"], job["at"]) == (JID, "paused", "imports", 1_700_000_000.0)
    assert JID in jobworker("jobs", "list", "paused").stdout
    assert "paused, " in jobworker("jobs", "show", JID).stdout
    assert orjson.loads(jobworker("jobs", "show", JID, "--json").stdout)["jobs"][0]["class"] == "Import"


def test_set_is_named_by_a_word_or_by_a_flag_wherever_one_is_named(jobworker: Jobworker, database: redis.Redis) -> None:
    database.zadd(KEYS.dead, {payload(): 1000.0})
    by_word, by_flag = jobworker("jobs", "list", "dead", "--json"), jobworker("jobs", "list", "--in", "dead", "--json")
    assert by_word.stdout == by_flag.stdout
    assert "leave one of them out" in jobworker("jobs", "list", "dead", "--in", "retry", code=2).stderr
    assert "which jobs? Name one of" in jobworker("jobs", "list", code=2).stderr
    assert "1 job enqueued" in jobworker("jobs", "retry", "--all", "dead", "--yes").stdout
    database.zadd(KEYS.dead, {payload(): 1000.0})
    assert "1 job deleted" in jobworker("jobs", "delete", "--all", "--in", "dead", "--yes").stdout


def test_progress_of_a_job_that_rests_says_so_also_before_its_first_run(
    jobworker: Jobworker, database: redis.Redis
) -> None:
    resting(database, payload())
    assert f"{JID}: paused, 0 rows" in jobworker("progress", JID).stdout
    database.hset(KEYS.progress(JID), mapping={"processed": 7, "failed": 0})
    assert f"{JID}: paused, 7 rows" in jobworker("progress", JID).stdout
    jobworker("jobs", "cancel", JID)
    database.hset(KEYS.progress(JID), mapping={"end": "cancelled", "ended_at": 1})
    assert f"{JID}: cancelled, 7 rows" in jobworker("progress", JID).stdout


@pytest.mark.parametrize(
    ("situation", "state", "words"),
    [
        ("queued", "waiting", "it waits in the queue imports at place 2"),
        ("scheduled", "waiting", "it is due in 2h"),
        ("to be retried", "retrying", "it is tried again in 2h"),
        ("running", "running", "it runs on pod-1"),
    ],
)
def test_progress_of_a_job_that_has_not_begun_says_where_it_is(
    jobworker: Jobworker, database: redis.Redis, situation: str, state: str, words: str
) -> None:
    SITUATIONS[situation](database)
    shown = jobworker("progress", JID).stdout
    assert f"{JID}: {state}, 0 rows" in shown
    assert words in shown
    told = orjson.loads(jobworker("progress", JID, "--json").stdout)
    assert (told["state"], told["processed"], told["total"]) == (state, 0, None)


def test_progress_of_a_job_that_has_none_says_why(jobworker: Jobworker, database: redis.Redis) -> None:
    queued(database, payload(job_class="Mail"))
    said = jobworker("progress", JID, code=1).stderr
    assert "it waits in the queue imports at place 1, as Mail, no iterating job of any worker" in said
    assert "it is long over, or never was" in jobworker("progress", "nobody", code=1).stderr
