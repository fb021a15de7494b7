"""The commands that show and steer queues and workers, on a real Redis; what every command says of a mistake."""

from __future__ import annotations

import time

import orjson
import pytest
import redis

from tests.integration.worker.inspected_redis import (
    KEYS,
    Jobworker,
    described,
    enqueue,
    payload,
    put,
    register,
)

pytestmark = pytest.mark.redis


# ── queues ───────────────────────────────────────────────────────────────────
def test_queue_is_listed_with_depth_pause_and_that_nobody_takes_it(jobworker: Jobworker, database: redis.Redis) -> None:
    enqueue(database, "mails", 3)
    [queue] = described(jobworker("queues", "--json"))["queues"]
    latency = queue.pop("latency_seconds")
    assert 0 <= latency < 60
    assert queue == {
        "name": "mails", "depth": 3, "running": 0, "workers": 0, "quiet": 0, "sidekiq": False,
        "problem": None, "paused": False, "paused_until": None,
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


def test_queue_can_be_paused_and_limited_before_its_first_job(jobworker: Jobworker, database: redis.Redis) -> None:
    enqueue(database, "mails", 1)
    paused = jobworker("queues", "pause", "reports")
    assert paused.stdout == "reports is paused until somebody unpauses it\n"
    assert "Note: no queue is named reports so far (there are mails); this holds once it has jobs" in paused.stderr
    assert "Note" not in jobworker("queues", "pause", "reports").stderr
    assert jobworker("queues", "unpause", "reports").stdout == "reports goes on\n"
    limited = jobworker("queues", "limit", "imports", "--cluster", "1")
    assert limited.stdout == "imports: 1 at a time in all\n"
    assert "Note: no queue is named imports so far" in limited.stderr
    queues = {queue["name"]: queue for queue in described(jobworker("queues", "--json"))["queues"]}
    assert queues["imports"]["limit"]["cluster"] == 1
    assert jobworker("queues", "limit", "imports", "--cluster", "none").stdout == "imports has no limit\n"


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
        (["queues", "unpause", "nails"], 1, "no queue is named nails; there are mails"),
        (["queues", "limit", "nails"], 1, "no queue is named nails; there are mails"),
        (["queues", "pause", "my nails"], 2, "'my nails' is no queue name"),
        (["queues", "limit", "nails,2", "--worker", "1"], 2, "'nails,2' is no queue name"),
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
        (["jobs", "show", "nobody"], 1, "job nobody is not known: it neither runs nor waits nor rests"),
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


# ── workers, stats ───────────────────────────────────────────────────────────
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
