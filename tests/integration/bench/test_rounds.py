"""Rounds of the bench on a real Redis: our worker's figures come out, and a round that lost a job has none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bench.worker.contestants import named
from bench.worker.measures.drain import drain
from bench.worker.measures.enqueue import against_floor, singly
from bench.worker.measures.idle import idle
from bench.worker.measures.start import start_latency
from bench.worker.rig import Rig, RoundFailed, Task
from bench.worker.server import Server
from tests.redis_server import RedisServer

# Takes all jobs off the queue, leaves the marks of all but one of them, and ends.
LOSES_A_JOB = """
import os, redis
client = redis.Redis(port=int(os.environ["BENCH_REDIS_PORT"]))
count = int(os.environ["BENCH_COUNT"])
client.delete("queue:default")
open(f"{os.environ['BENCH_FOLDER']}/seen-1", "wb").write(bytes([1] * (count - 1) + [0]))
"""


@pytest.fixture
def rig(tmp_path: Path, redis_server: RedisServer) -> Iterator[Rig]:
    # The session's server is only asked for so that a machine without Redis skips this as it skips the others.
    with Server(tmp_path / "redis") as server:
        yield Rig(server, tmp_path, {})


@pytest.mark.parametrize(("name", "jobs"), [("jobworker", 2_000), ("jobworker-threads", 600)])
def test_a_full_queue_is_drained_and_counted(rig: Rig, name: str, jobs: int) -> None:
    # Two seconds of jobs that wait: most of them are still to come when the first one is seen, on a busy machine too.
    found = drain(rig, named(name), Task("sleep:100", jobs))
    assert found.jobs_per_second > 0
    assert found.cpu_us > 0
    assert found.commands > 0
    assert found.rss_mib > 1
    assert found.twice == 0


def test_a_round_with_a_lost_job_has_no_figure(rig: Rig, tmp_path: Path) -> None:
    program = tmp_path / "loses_a_job.py"
    program.write_text(LOSES_A_JOB)
    loser = replace(named("jobworker"), worker=("python", str(program)))
    with pytest.raises(RoundFailed, match="only 9 of 10 jobs ran"):
        drain(rig, loser, Task("noop", 10))


def test_a_queue_that_cannot_be_watched_has_no_figure(rig: Rig) -> None:
    unwatched = replace(named("jobworker"), queues=("queue:somewhere-else",))
    with pytest.raises(RoundFailed, match="0 of 10 jobs lie on the queue"):
        drain(rig, unwatched, Task("noop", 10))


def test_every_start_is_timed(rig: Rig) -> None:
    took = start_latency(rig, named("jobworker"), Task("stamp", 23, (0.001, 0.01)))
    assert len(took) == 20
    assert min(took) > 0


def test_a_foreign_producer_is_served(rig: Rig) -> None:
    took = start_latency(rig, named("jobworker"), Task("stamp", 6, (0.001, 0.01)), "foreign")
    assert len(took) == 3
    assert min(took) > 0


def test_enqueueing_is_timed_alone_and_beside_the_bare_client(rig: Rig) -> None:
    assert singly(rig, named("jobworker"), 50) > 0
    ratios = against_floor(rig, named("jobworker"), 1_000)
    assert len(ratios) == 2
    assert min(ratios) > 0


def test_an_idle_worker_is_watched(rig: Rig) -> None:
    found = idle(rig, named("jobworker"), settle=0, seconds=0.5)
    assert found.rss_mib > 1
    assert found.commands_per_second >= 0
