"""How the commands put things: lines that end, counts that can be true, and sets by names that people use."""

from __future__ import annotations

import pytest
import redis

from tests.integration.worker.inspected_redis import KEYS, Jobworker, payload, put

pytestmark = pytest.mark.redis


def test_bar_of_a_progress_has_a_line_of_its_own(jobworker: Jobworker, database: redis.Redis) -> None:
    database.hset(KEYS.progress("a"), mapping={"processed": 5, "total": 20})
    head, bar, *rest = jobworker("progress", "a").stdout.split("\n")
    assert "5 of 20 rows (25%)" in head
    assert set(bar.strip()) <= set("━╸╺-")
    assert rest == [""]
    database.hset(KEYS.progress("b"), mapping={"processed": 0, "slices": 2})
    database.hset(KEYS.slices("b"), mapping={"count": 2, "s0": "done"})
    for number in range(2):
        database.hset(KEYS.progress(f"bs{number}"), mapping={"processed": 5, "total": 10})
    lines = jobworker("progress", "b").stdout.splitlines()
    assert "10 of 20 rows (50%)" in lines[0]
    assert lines[2].startswith("2 slices: ")


def test_rows_beyond_the_total_are_no_share_of_it(jobworker: Jobworker, database: redis.Redis) -> None:
    database.hset(KEYS.progress("a"), mapping={"processed": 248, "total": 4})
    shown = jobworker("progress", "a").stdout
    assert "248 rows, though 4 were counted" in shown
    assert "%" not in shown
    assert len(shown.splitlines()) == 1


def test_lists_name_what_they_count(jobworker: Jobworker, database: redis.Redis) -> None:
    assert jobworker("jobs", "list", "retry").stderr == "no jobs to be retried\n"
    assert jobworker("jobs", "list", "dead", "--class", "Mail").stderr == "no dead jobs of class Mail\n"
    put(database, "retry", payload("a"))
    assert jobworker("jobs", "list", "retry").stderr == "1 to 1 of 1 jobs to be retried\n"
    assert jobworker("jobs", "list", "retry", "--page", "2").stderr == "none of 1 jobs to be retried\n"
