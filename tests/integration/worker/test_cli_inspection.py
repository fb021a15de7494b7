"""The commands that show and steer queues, jobs and workers, on a real Redis, as tables and as JSON."""

from __future__ import annotations

import base64
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any, cast

import orjson
import pytest
import redis
from click.testing import CliRunner, Result

from jobworker.cli.main import cli
from jobworker.client.synchronous import SyncClient
from jobworker.protocol.keys import Keys
from tests.redis_server import RedisServer

pytestmark = pytest.mark.redis

KEYS = Keys()
SETS = {"scheduled": KEYS.schedule, "retry": KEYS.retry, "dead": KEYS.dead}

Jobworker = Callable[..., Result]


@pytest.fixture
def database(redis_server: RedisServer) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
        yield client


@pytest.fixture
def jobworker(redis_server: RedisServer, database: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> Jobworker:
    monkeypatch.setenv("JOBWORKER_REDIS_URL", redis_server.url)

    def run(*arguments: str, code: int = 0) -> Result:
        done = CliRunner().invoke(cli, arguments)
        assert done.exit_code == code, f"{done.output}\n{done.exception!r}"
        return done

    return run


def described(done: Result) -> Any:
    return orjson.loads(done.stdout)


def payload(jid: str, job_class: str = "Mail", **fields: Any) -> bytes:
    return orjson.dumps({"class": job_class, "args": [7], "jid": jid, "queue": "mails", "retry": True, **fields})


def put(database: redis.Redis, name: str, *members: bytes) -> None:
    database.zadd(SETS[name], {member: 1000 + place for place, member in enumerate(members)})


def jids(database: redis.Redis, key: str) -> list[str]:
    members = cast("list[bytes]", database.zrange(key, 0, -1))
    return [orjson.loads(member)["jid"] for member in members]


def enqueue(database: redis.Redis, queue: str, count: int) -> None:
    client = SyncClient(database)
    for number in range(count):
        client.enqueue("Mail", [number], queue=queue)


# ── queues ───────────────────────────────────────────────────────────────────
def test_queue_is_listed_with_depth_pause_and_that_nobody_takes_it(jobworker: Jobworker, database: redis.Redis) -> None:
    enqueue(database, "mails", 3)
    [queue] = described(jobworker("queues", "--json"))["queues"]
    latency = queue.pop("latency_seconds")
    assert 0 <= latency < 60
    assert queue == {
        "name": "mails", "depth": 3, "running": 0, "workers": 0, "sidekiq": False,
        "paused": False, "paused_until": None,
        "limit": {"cluster": None, "worker": None, "blocking": False},
    }  # fmt: skip
    assert "no worker takes it" in jobworker("queues").stdout


def test_pause_lasts_as_long_as_it_was_said(jobworker: Jobworker, database: redis.Redis) -> None:
    enqueue(database, "mails", 1)
    assert jobworker("queues", "pause", "mails", "--for", "10m").stdout == "mails is paused for 10m\n"
    [queue] = described(jobworker("queues", "--json"))["queues"]
    assert queue["paused"]
    assert 500 < queue["paused_until"] - time.time() < 700
    assert "paused, goes on in" in jobworker("queues").stdout
    assert "until somebody unpauses it" in jobworker("queues", "pause", "mails").stdout
    assert described(jobworker("queues", "--json"))["queues"][0]["paused_until"] is None
    assert jobworker("queues", "unpause", "mails").stdout == "mails goes on\n"
    assert jobworker("queues", "unpause", "mails").stdout == "mails was not paused\n"
    assert database.smembers(KEYS.paused) == set()


def test_limit_is_set_piece_by_piece_and_taken_back(jobworker: Jobworker, database: redis.Redis) -> None:
    enqueue(database, "mails", 1)
    assert jobworker("queues", "limit", "mails").stdout == "mails has no limit\n"
    jobworker("queues", "limit", "mails", "--cluster", "8")
    shown = jobworker("queues", "limit", "mails", "--worker", "2", "--blocking").stdout
    assert shown == "mails: 8 at a time in all, 2 on each worker, queues behind it wait meanwhile\n"
    assert database.hget(KEYS.limits, "mails") == b"8|2|1"
    [queue] = described(jobworker("queues", "--json"))["queues"]
    assert queue["limit"] == {"cluster": 8, "worker": 2, "blocking": True}
    assert "8 in all, 2 each, blocking" in jobworker("queues").stdout
    jobworker("queues", "limit", "mails", "--cluster", "none", "--worker", "none", "--no-blocking")
    assert database.exists(KEYS.limits) == 0


def test_queue_shows_what_is_taken_next_in_pages(jobworker: Jobworker, database: redis.Redis) -> None:
    enqueue(database, "mails", 5)
    database.lpush("queue:mails", b"no JSON")
    listed = described(jobworker("queues", "show", "mails", "--limit", "2", "--page", "2", "--json"))
    assert [job["args"] for job in listed.pop("jobs")] == [[2], [3]]
    assert listed == {"queue": "mails", "size": 6, "page": 2, "limit": 2, "more": True}
    listed = described(jobworker("queues", "show", "mails", "--limit", "4", "--page", "2", "--json"))
    assert [(job["args"], job["class"]) for job in listed["jobs"]] == [([4], "Mail"), (None, None)]
    assert not listed["more"]
    shown = jobworker("queues", "show", "mails")
    assert "s ago" in shown.stdout
    assert "unreadable" in shown.stdout
    assert "1 to 6 of 6 in mails" in shown.stderr
    assert "none of 6 in mails" in jobworker("queues", "show", "mails", "--page", "9").stderr


def test_clear_asks_before_it_drops_jobs(jobworker: Jobworker, database: redis.Redis) -> None:
    enqueue(database, "mails", 2)
    assert "Drop 2 jobs of mails for good?" in jobworker("queues", "clear", "mails", code=2).stderr
    assert database.llen("queue:mails") == 2
    assert jobworker("queues", "clear", "mails", "--yes").stdout == "2 jobs of mails dropped\n"
    assert database.exists("queue:mails") == 0
    assert "no queue is named mails" in jobworker("queues", "clear", "mails", code=1).stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["queues", "pause", "nails"], 1, "no queue is named nails; there are mails"),
        (["queues", "pause", "mails", "--for", "soon"], 2, "write for example 90s, 10m, 1h30m or 2d"),
        (["queues", "--redis", "redis://127.0.0.1:1/0"], 1, "Redis at redis://127.0.0.1:1/0 does not answer"),
        (["queues", "--redis", "redis://127.0.0.1:1/0", "pause", "mails"], 1, "redis://127.0.0.1:1/0 does not answer"),
        (["queues", "limit", "mails", "--cluster", "-1"], 2, "a whole number from 0 on, or none"),
        (["workers", "quiet", "nobody"], 1, "no worker is named nobody; there are none at all"),
        (["jobs", "list", "nowhere"], 2, "'scheduled', 'retry', 'dead', 'running'"),
        (["jobs", "retry"], 2, "Name their IDs, or --all --in dead"),
        (["jobs", "retry", "--all"], 2, "--in SET"),
        (["jobs", "kill", "--all", "--in", "dead"], 2, "'scheduled', 'retry'"),
        (["jobs", "delete", "x", "--class", "Mail"], 2, "leave the IDs out"),
        (["jobs", "delete", "--all", "--in", "dead", "--unreadable", "--class", "Mail"], 2, "leave those flags out"),
        (["jobs", "show", "nobody"], 1, "no job nobody is scheduled, to be retried, dead, paused or running"),
        (["enqueue", "x", "{"], 2, "is not JSON"),
        (["enqueue", "x", "5"], 2, "write '[5]'"),
        (["enqueue", "x", "--redis", "redis://127.0.0.1:1/0"], 1, "127.0.0.1:1"),
        (["progress", "nobody"], 1, "no progress is known of nobody"),
        (["top"], 2, "--once prints one frame"),
    ],
)
def test_mistake_is_told_with_what_to_do(
    jobworker: Jobworker, database: redis.Redis, arguments: list[str], code: int, message: str
) -> None:
    enqueue(database, "mails", 1)
    assert message in jobworker(*arguments, code=code).stderr


def test_prefix_of_the_group_reaches_its_commands(jobworker: Jobworker, database: redis.Redis) -> None:
    database.sadd("shop:queues", "mails")
    jobworker("queues", "--key-prefix", "shop:", "pause", "mails")
    assert database.smembers("shop:paused") == {b"mails"}


# ── jobs ─────────────────────────────────────────────────────────────────────
def test_jobs_are_listed_in_pages_with_times_of_both_formats(jobworker: Jobworker, database: redis.Redis) -> None:
    put(database, "retry", payload("of-8", failed_at=1_700_000_000_123), payload("of-7", failed_at=1_700_000_000.123))
    put(database, "dead", *(payload(f"d{n}", error_class="E", error_message="broken\nlines") for n in range(5)))
    listed = described(jobworker("jobs", "list", "retry", "--json"))
    assert [(job["id"], job["failed_at"], job["at"]) for job in listed["jobs"]] == [
        ("of-8", 1_700_000_000.123, 1000),
        ("of-7", 1_700_000_000.123, 1001),
    ]
    listed = described(jobworker("jobs", "list", "dead", "--json", "--limit", "2", "--page", "2"))
    assert [job["id"] for job in listed["jobs"]] == ["d2", "d1"]
    assert (listed["size"], listed["more"]) == (5, True)
    shown = jobworker("jobs", "list", "dead", "--limit", "4")
    assert "E: broken" in shown.stdout
    assert "1 to 4 of 5 dead; --page 2 shows more" in shown.stderr
    summary = described(jobworker("jobs", "--json"))["jobs"]
    assert summary == {"running": 0, "paused": 0, "scheduled": 0, "retry": 2, "dead": 5}


def test_jobs_of_a_class_are_chosen_across_pages(jobworker: Jobworker, database: redis.Redis) -> None:
    members = [payload(f"{n:04}", "Report" if n % 100 == 0 else "Mail") for n in range(1200)]
    put(database, "scheduled", *members)
    listed = described(
        jobworker("jobs", "list", "scheduled", "--class", "Report", "--limit", "5", "--page", "2", "--json")
    )
    assert [job["id"] for job in listed["jobs"]] == ["0500", "0600", "0700", "0800", "0900"]
    assert listed["more"]
    done = described(jobworker("jobs", "delete", "--all", "--in", "scheduled", "--class", "Report", "--yes", "--json"))
    assert done == {"action": "delete", "done": 12, "unreadable": 0}
    assert database.zcard(KEYS.schedule) == 1188


def test_one_job_is_shown_and_retried_once(jobworker: Jobworker, database: redis.Redis) -> None:
    raw = payload("a1", retry_count=2, bid="b-9")
    put(database, "dead", raw, payload("a2"))
    [job] = described(jobworker("jobs", "show", "a1", "--json"))["jobs"]
    assert (job["set"], job["retry_count"], job["payload"]) == ("dead", 2, raw.decode())
    assert "b-9" in jobworker("jobs", "show", "a1").stdout
    assert jobworker("jobs", "retry", "a1").stdout == "1 job enqueued\n"
    assert "somebody was faster" in jobworker("jobs", "retry", "a1", code=1).stderr
    done = jobworker("jobs", "retry", "a1", "a2", "--json", code=1)
    assert described(done) == {"action": "retry", "done": 1, "missing": ["a1"], "unreadable": []}
    assert database.llen("queue:mails") == 2


def test_backtrace_is_unpacked_where_it_is_one(jobworker: Jobworker, database: redis.Redis) -> None:
    packed = base64.b64encode(zlib.compress(orjson.dumps(["shop.py:7 in welcome", "x.py:1"]))).decode()
    bomb = base64.b64encode(zlib.compress(b'["' + b"a" * 5_000_000 + b'"]')).decode()
    put(database, "dead", payload("a", error_backtrace=packed), payload("b", error_backtrace=bomb))
    assert "shop.py:7 in welcome" in jobworker("jobs", "show", "a").stdout
    [job] = described(jobworker("jobs", "show", "a", "--json"))["jobs"]
    assert job["backtrace"] == ["shop.py:7 in welcome", "x.py:1"]
    [job] = described(jobworker("jobs", "show", "b", "--json"))["jobs"]
    assert job["backtrace"] is None


def test_set_is_searched_where_it_is_named(jobworker: Jobworker, database: redis.Redis) -> None:
    put(database, "dead", payload("a"))
    put(database, "retry", payload("a", retry_count=0))
    jobworker("jobs", "delete", "a", "--in", "retry")
    assert (jids(database, KEYS.retry), jids(database, KEYS.dead)) == ([], ["a"])


def test_retries_are_killed_and_the_dead_retried_all_at_once(jobworker: Jobworker, database: redis.Redis) -> None:
    put(database, "retry", *(payload(str(n)) for n in range(450)))
    assert "Kill all 450 jobs in retry?" in jobworker("jobs", "kill", "--all", "--in", "retry", code=2).stderr
    assert jobworker("jobs", "kill", "--all", "--in", "retry", "--yes").stdout == "450 jobs moved to the dead set\n"
    put(database, "dead", b"no JSON")
    done = jobworker("jobs", "retry", "--all", "--in", "dead", "--yes")
    assert done.stdout == "450 jobs enqueued\n"
    assert "1 job cannot be read and stay" in done.stderr
    assert database.llen("queue:mails") == 450


def test_job_that_failed_anew_meanwhile_is_not_retried_twice(jobworker: Jobworker, database: redis.Redis) -> None:
    put(database, "retry", payload("old", retried_at=1.5), payload("anew", retried_at=time.time() + 60))
    assert jobworker("jobs", "retry", "--all", "--in", "retry", "--yes").stdout == "1 job enqueued\n"
    assert jids(database, KEYS.retry) == ["anew"]


def test_unreadable_payload_is_shown_as_such_and_can_be_deleted(jobworker: Jobworker, database: redis.Redis) -> None:
    put(database, "dead", b"\xff\x1b[31m", payload("a"))
    listed = described(jobworker("jobs", "list", "dead", "--unreadable", "--json"))["jobs"]
    [unreadable] = listed
    assert unreadable["class"] is None
    assert "not JSON" in unreadable["problem"]
    for shown in (jobworker("jobs", "list", "dead").stdout, jobworker("jobs", "show", unreadable["id"]).stdout):
        assert "not JSON" in shown
        assert "\x1b[31m" not in shown
    refused = jobworker("jobs", "retry", unreadable["id"], code=1)
    assert "can only be deleted" in refused.stderr
    jobworker("jobs", "delete", unreadable["id"])
    assert jids(database, KEYS.dead) == ["a"]


def test_text_of_strangers_reaches_the_terminal_without_its_control_sequences(
    jobworker: Jobworker, database: redis.Redis
) -> None:
    put(database, "retry", payload("a", "[red]Mail[/]", error_class="E", error_message="\x1b]0;owned\x07"))
    for shown in (jobworker("jobs", "list", "retry").stdout, jobworker("jobs", "show", "a").stdout):
        assert "[red]Mail[/]" in shown
        assert "\x1b" not in shown
        assert "\x07" not in shown


def test_hostile_entries_break_no_command(jobworker: Jobworker, database: redis.Redis) -> None:
    deep = b"[" * 500 + b"]" * 500
    database.zadd(
        KEYS.dead, {b'{"class":"Deep","jid":"deep","args":%b,"tags":%b,"retry_count":1e3}' % (deep, deep): "inf"}
    )
    database.zadd(KEYS.dead, {b'{"class":"Odd","jid":"","args":[]}': "-inf", payload("late", failed_at=1e300): 1e300})
    database.sadd(KEYS.queues, b"\xff\x1b")
    listed = {job["id"]: job for job in described(jobworker("jobs", "list", "dead", "--json"))["jobs"]}
    assert (listed["deep"]["args"], listed["deep"]["problem"]) == (None, "nested too deep to be shown")
    assert (listed["late"]["args"], listed["late"]["problem"]) == ([7], None)
    assert sum("has no jid" in (job["problem"] or "") for job in listed.values()) == 1
    for arguments in (["jobs"], ["jobs", "list", "dead"], ["jobs", "show", "deep"], ["queues"], ["stats"], ["workers"]):
        assert "\x1b" not in jobworker(*arguments).stdout
        jobworker(*arguments, "--json")
    jobworker("jobs", "retry", "deep")
    assert database.llen("queue:default") == 1


def test_progress_keeps_every_word_of_a_message(jobworker: Jobworker, database: redis.Redis) -> None:
    long = "the name is longer than " + "very " * 60 + "long"
    database.hset(KEYS.progress("p"), mapping={"processed": 5, "failed": 1, "updated_at": round(time.time() * 1000)})
    database.hset(KEYS.errors("p"), "7", orjson.dumps([long, "[red]\x1b[31m"]))
    shown = jobworker("progress", "p").stdout
    assert "p: waiting, 5 rows, 1 with errors, " in shown
    assert long in " ".join(shown.split())
    assert "[red]\\x1b[31m" in shown


# ── workers, stats ───────────────────────────────────────────────────────────
def register(database: redis.Redis, name: str, queues: str = "mails,2 reports,1", **fields: Any) -> None:
    database.sadd(KEYS.workers, name)
    record: dict[Any, Any] = {
        "epoch": "e", "beat": time.time(), "running": 1, "concurrency": 4, "queues": queues, "pod": f"pod-{name}",
        "fleet": "shop/mails", "pid": 7, "hostname": "h", "started_at": time.time() - 100, "rss_kb": 40960, **fields,
    }  # fmt: skip
    database.hset(KEYS.record(name), mapping=record)
    database.set(KEYS.alive(name), "e")


def test_worker_is_listed_with_what_it_runs(jobworker: Jobworker, database: redis.Redis) -> None:
    register(database, "w1")
    taken = round(time.time() * 1000) - 60_000
    database.hset(KEYS.working("w1"), "1", b"%d mails\n%s" % (taken, payload("a")))
    [worker] = described(jobworker("workers", "--json"))["workers"]
    assert (worker["worker"], worker["pod"], worker["alive"], worker["quiet"]) == ("w1", "pod-w1", True, None)
    assert (worker["queues"], worker["concurrency"], worker["rss_kb"]) == (["mails", "reports"], 4, 40960)
    [job] = worker["jobs"]
    assert (job["id"], job["queue"], job["taken_at"]) == ("a", "mails", taken / 1000)
    shown = jobworker("workers").stdout
    assert "pod-w1" in shown
    assert "1/4" in shown
    assert "Mail 7" in shown
    queues = {queue["name"]: queue for queue in described(jobworker("queues", "--json"))["queues"]}
    assert (queues["mails"]["workers"], queues["mails"]["running"]) == (1, 1)
    listed = described(jobworker("jobs", "list", "running", "--class", "Mail", "--json"))
    assert [(job["id"], job["worker"]) for job in listed["jobs"]] == [("a", "w1")]
    [job] = described(jobworker("jobs", "show", "a", "--json"))["jobs"]
    assert job["set"] == "running"


def test_iterating_jobs_of_a_worker_are_listed_with_how_far_they_are(
    jobworker: Jobworker, database: redis.Redis
) -> None:
    register(database, "w1")
    taken = round(time.time() * 1000) - 60_000
    for number, jid in enumerate(("a", "b", "c")):
        database.hset(KEYS.working("w1"), str(number), b"%d mails\n%s" % (taken + number, payload(jid)))
    database.hset(KEYS.progress("a"), mapping={"processed": 41, "total": 100})
    database.hset(KEYS.progress("b"), mapping={"processed": 1234})
    [worker] = described(jobworker("workers", "--json"))["workers"]
    assert [(job["id"], job["processed"], job["total"]) for job in worker["jobs"]] == [
        ("a", 41, 100),
        ("b", 1234, None),
        ("c", None, None),
    ]
    shown = jobworker("workers").stdout
    assert "41%" in shown
    assert "1,234 rows" in shown
    assert "41%" in jobworker("top", "--once").stdout


def test_worker_is_quieted_by_hand_and_not_unquieted_against_the_operator(
    jobworker: Jobworker, database: redis.Redis
) -> None:
    for name in ("abc1", "abd2"):
        register(database, name)
    assert "several workers are named ab; there are abc1, abd2" in jobworker("workers", "quiet", "ab", code=1).stderr
    assert "is quiet and holds 0 jobs" in jobworker("workers", "quiet", "abc", "--reason", "memory").stdout
    assert database.get(KEYS.quiet("abc1")) == b"by hand: memory"
    assert "quiet: by hand: memory" in jobworker("workers").stdout
    assert jobworker("workers", "unquiet", "pod-abc1").stdout == "pod-abc1 takes jobs again\n"
    assert database.get(KEYS.quiet("abc1")) is None
    database.set(KEYS.quiet("abd2"), "operator: Outdated")
    assert "may do so again; --force" in jobworker("workers", "unquiet", "abd2", code=1).stderr
    jobworker("workers", "unquiet", "abd2", "--force")
    assert database.get(KEYS.quiet("abd2")) is None


def test_queue_that_only_a_real_sidekiq_takes_is_taken(jobworker: Jobworker, database: redis.Redis) -> None:
    register(database, "w1", queues="mails,1")
    for identity, pid, taken in (("h:7:aa", 7, ["mails"]), ("h:8:bb", 8, ["ruby"])):
        database.sadd("processes", identity)
        database.hset(identity, "info", orjson.dumps({"hostname": "h", "pid": pid, "queues": taken, "labels": []}))
    killed = {"hostname": "h", "pid": 9, "queues": ["mails"], "labels": ["jobworker", "abc"]}
    database.sadd("processes", "h:9:cc")
    database.hset("h:9:cc", "info", orjson.dumps(killed))
    queues = {queue["name"]: queue for queue in described(jobworker("queues", "--json"))["queues"]}
    assert [(name, queue["workers"], queue["sidekiq"]) for name, queue in queues.items()] == [
        ("mails", 1, False),
        ("ruby", 0, True),
    ]


def test_stats_count_what_ran_and_what_waits(jobworker: Jobworker, database: redis.Redis) -> None:
    register(database, "w1")
    enqueue(database, "mails", 2)
    put(database, "retry", payload("a"))
    day = time.strftime("%Y-%m-%d", time.gmtime())
    database.mset({"stat:processed": 50, "stat:failed": 5, f"stat:processed:{day}": 9, f"stat:failed:{day}": 1})
    seen = described(jobworker("stats", "--json", "--days", "2"))
    assert (seen["processed"], seen["failed"], seen["enqueued"], seen["retry"], seen["workers"]) == (50, 5, 2, 1, 1)
    assert seen["days"][0] == {"date": day, "processed": 9, "failed": 1}
    assert len(seen["days"]) == 2
    assert "of all time" in jobworker("stats").stdout


def test_top_prints_a_frame_for_scripts(jobworker: Jobworker, database: redis.Redis) -> None:
    register(database, "w1")
    enqueue(database, "mails", 2)
    shown = jobworker("top", "--once").stdout
    assert "0.0/s" in shown
    assert "pod-w1" in shown
    assert "mails" in shown


# ── enqueue ──────────────────────────────────────────────────────────────────
def test_enqueue_prints_the_jid_alone_and_warns_when_nobody_takes_the_queue(
    jobworker: Jobworker, database: redis.Redis
) -> None:
    done = jobworker("enqueue", "Mail", "[7]", "-q", "mails")
    assert len(done.stdout.strip()) == 24
    assert "in the queue mails" in done.stderr
    assert "no worker that is running takes the queue mails" in done.stderr
    register(database, "w1")
    assert "Warning" not in jobworker("enqueue", "Mail", "[7]", "-q", "mails").stderr
    database.sadd(KEYS.paused, "mails")
    assert "is paused" in jobworker("enqueue", "Mail", "[7]", "-q", "mails").stderr
    done = jobworker("enqueue", "Mail", "[7]", "-q", "mails", "--in", "1h", "--json")
    assert 3500 < described(done)["scheduled_at"] - time.time() < 3700
    assert database.llen("queue:mails") == 3
