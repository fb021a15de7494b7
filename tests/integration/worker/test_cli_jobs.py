"""The commands that show, move and enqueue jobs, on a real Redis, as tables and as JSON."""

from __future__ import annotations

import base64
import time
import zlib

import orjson
import pytest
import redis

from tests.integration.worker.inspected_redis import (
    KEYS,
    Jobworker,
    described,
    jids,
    payload,
    put,
    register,
)

pytestmark = pytest.mark.redis


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
    assert "1 to 4 of 5 dead jobs; --page 2 shows more" in shown.stderr
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
    assert done == {"action": "delete", "done": 12, "unreadable": 0, "refused": 0}
    assert database.zcard(KEYS.schedule) == 1188


def test_one_job_is_shown_and_retried_once(jobworker: Jobworker, database: redis.Redis) -> None:
    raw = payload("a1", retry_count=2, bid="b-9")
    put(database, "dead", raw, payload("a2"))
    [job] = described(jobworker("jobs", "show", "a1", "--json"))["jobs"]
    assert (job["set"], job["retry_count"], job["payload"]) == ("dead", 2, raw.decode())
    assert "b-9" in jobworker("jobs", "show", "a1").stdout
    assert jobworker("jobs", "retry", "a1").stdout == "1 job enqueued\n"
    said = "Error: a1 waits in the queue mails at place 1: it runs when it is its turn"
    assert said in jobworker("jobs", "retry", "a1", code=1).stderr
    done = jobworker("jobs", "retry", "a1", "a2", "--json", code=1)
    assert described(done) == {"action": "retry", "done": 1, "missing": ["a1"], "unreadable": [], "refused": []}
    assert database.llen("queue:mails") == 2


def test_queued_job_is_shown_and_deleted_by_its_id(jobworker: Jobworker, database: redis.Redis) -> None:
    database.sadd(KEYS.queues, "mails")
    database.lpush(KEYS.queue("mails"), payload("a1"), payload("a2", enqueued_at=time.time() - 90, bid="b-9"))
    [job] = described(jobworker("jobs", "show", "a2", "--json"))["jobs"]
    assert (job["set"], job["queue"], job["place"]) == ("queued", "mails", 2)
    shown = jobworker("jobs", "show", "a2").stdout
    assert "waiting in the queue mails at place 2, 1m 30s ago" in shown
    assert "b-9" in shown
    assert (
        "a2 waits in the queue mails at place 2: `jobworker jobs delete`"
        in jobworker("jobs", "kill", "a2", code=1).stderr
    )
    assert jobworker("jobs", "delete", "a2", "--in", "dead", code=1).stdout == ""
    assert jobworker("jobs", "delete", "a2").stdout == "1 job deleted\n"
    assert database.lrange(KEYS.queue("mails"), 0, -1) == [payload("a1")]
    said = "Error: a2 is not known: it neither runs nor waits nor rests: it has ended, or somebody was faster"
    assert said in jobworker("jobs", "delete", "a2", code=1).stderr


@pytest.mark.parametrize(
    ("action", "put_in", "words"),
    [
        (("kill",), "dead", "a1 is dead, since"),
        (("delete", "--in", "retry"), "scheduled", "`jobworker jobs delete --in scheduled` takes it from there"),
        (("retry",), "running", "a1 runs on pod-a: `jobworker jobs cancel` ends it if it is iterating"),
        (("delete",), "paused", "`jobworker jobs resume` lets it go on"),
    ],
)
def test_it_is_said_where_a_job_is_that_an_action_does_not_reach(
    jobworker: Jobworker, database: redis.Redis, action: tuple[str, ...], put_in: str, words: str
) -> None:
    if put_in == "running":
        register(database, "pod-a")
        database.hset(KEYS.working("pod-a"), "1", b"1700000000000 mails\n" + payload("a1"))
    elif put_in == "paused":
        database.hset(KEYS.parked, "a1", b"1700000000000 mails\n" + payload("a1"))
    else:
        put(database, put_in, payload("a1"))
    assert words in jobworker("jobs", action[0], "a1", *action[1:], code=1).stderr


def awaited_slice(database: redis.Redis, number: int = 1) -> bytes:
    database.hset("jw:slices:whole", f"s{number}", "left")
    return payload(
        f"wholes{number}", jw_slice={"of": "whole", "number": number, "count": 4, "queue": "mails", "value": 7}
    )


def test_slice_that_its_job_waits_for_is_not_deleted(jobworker: Jobworker, database: redis.Redis) -> None:
    put(database, "dead", awaited_slice(database), payload("a1"), payload("a2", jw_slice={"of": [], "number": None}))
    done = jobworker("jobs", "delete", "wholes1", code=1)
    assert (
        "`jobworker jobs retry wholes1` completes it, `jobworker jobs cancel whole` ends the whole job" in done.stderr
    )
    done = jobworker("jobs", "delete", "--all", "--in", "dead", "--yes")
    assert done.stdout == "2 jobs deleted\n"
    assert "1 job stay, slices that others wait for" in done.stderr
    assert jids(database, KEYS.dead) == ["wholes1"]
    assert "whole waits for it as its slice" in jobworker("jobs", "cancel", "wholes1", code=1).stderr
    database.hset("jw:slices:whole", "s1", "cancelled")
    assert jobworker("jobs", "delete", "wholes1").stdout == "1 job deleted\n"


def test_it_is_said_who_waits_for_a_slice_that_is_killed(jobworker: Jobworker, database: redis.Redis) -> None:
    put(database, "retry", awaited_slice(database))
    done = jobworker("jobs", "kill", "wholes1")
    assert done.stdout == "1 job moved to the dead set\n"
    assert "wholes1 is a slice of whole, which waits until it is retried" in done.stderr


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
