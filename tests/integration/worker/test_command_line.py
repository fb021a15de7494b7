"""The command line says what is wrong in one line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import orjson
import pytest
from redis.asyncio import Redis

from jobworker import Client
from tests.integration.worker.conftest import KEYS, StartWorker, Traces
from tests.redis_server import RedisServer
from tests.waiting import wait_until

pytestmark = pytest.mark.redis


def jobworker(server: RedisServer, *arguments: str) -> subprocess.CompletedProcess[str]:
    folder = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-m", "jobworker.cli", *arguments],
        env={**os.environ, "JOBWORKER_REDIS_URL": server.url, "PYTHONPATH": folder},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        pytest.param(["run", "nowhere:app"], 1, "there is no module nowhere", id="module"),
        pytest.param(["run", "jobs_for_tests:api"], 1, "it has jobs_for_tests:app", id="attribute"),
        pytest.param(["run", "jobs_for_tests:traces"], 1, "traces is a Redis, no App", id="no App"),
        pytest.param(["run", "json:app"], 1, "it has no App at all", id="a module without one"),
        pytest.param(["run", "jobs_for_tests:app", "--redis", "http://x"], 1, "looks like redis://", id="address"),
        pytest.param(["run", "jobs_for_tests:app", "-q", "a,0"], 2, "whole number from 1 to 100", id="weight"),
        pytest.param(["run", "jobs_for_tests:app", "-q", ""], 2, "no queue is named", id="no queue"),
        pytest.param(["run", "jobs_for_tests:app", "-q", "mails,x"], 2, "separate queues by spaces", id="comma"),
        pytest.param(["enqueue", "x", "{"], 2, "is not JSON", id="JSON"),
        pytest.param(["enqueue", "x", "5"], 2, "write '[5]'", id="no list"),
        pytest.param(["enqueue", "x", "--redis", "redis://127.0.0.1:1/0"], 1, "127.0.0.1:1", id="no Redis"),
        pytest.param(["progress", "nobody"], 1, "no progress is known of nobody", id="jid"),
    ],
)
def test_mistake_is_told_in_a_line(redis_server: RedisServer, arguments: list[str], code: int, message: str) -> None:
    done = jobworker(redis_server, *arguments)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_check_lists_the_jobs_with_their_parameters(redis_server: RedisServer) -> None:
    done = jobworker(redis_server, "check", "jobs_for_tests:app")
    assert done.returncode == 0
    assert "Rows(path: 'str') -> 'None'  iterating, queue default, 25 retries" in done.stdout
    assert "fails_once(name: 'str') -> 'None'  plain, queue default, 2 retries" in done.stdout


async def test_enqueued_job_runs_and_its_progress_can_be_read(
    redis: Redis, redis_server: RedisServer, client: Client, traces: Traces, start_worker: StartWorker, tmp_path: Path
) -> None:
    table = tmp_path / "rows.csv"
    table.write_text("id\n" + "".join(f"{n}\n" for n in range(1, 21)))
    start_worker("a", "--log-format", "json", "--log-level", "debug")
    done = jobworker(redis_server, "enqueue", "Rows", orjson.dumps([str(table)]).decode())
    jid = done.stdout.strip()

    async def complete() -> bool:
        return int(await redis.get(KEYS.stat("processed")) or 0) == 1

    await wait_until(complete, 15)
    progress = orjson.loads(jobworker(redis_server, "progress", jid, "--json").stdout)
    assert (progress["processed"], progress["total"], progress["failed"]) == (20, 20, 1)
    assert progress["errors"] == {"7": ["no name", "no age"]}
    table_text = jobworker(redis_server, "progress", jid).stdout
    assert "20 of 20 rows (100%), 1 with errors" in table_text
    assert "no age" in table_text
