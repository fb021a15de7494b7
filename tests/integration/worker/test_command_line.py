"""The command line says what is wrong in one line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import orjson
import pytest
from redis.asyncio import Redis

from jobworker import App, Client
from jobworker.cli.loading import load
from jobworker.cli.run import queues_of
from jobworker.errors import ConfigurationError
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
        pytest.param(["run", "jobs_for_tests:app", "--redis", "http://x"], 1, "looks like redis://", id="address"),
        pytest.param(["run", "jobs_for_tests:app", "-q", "a,0"], 2, "whole number from 1 to 100", id="weight"),
        pytest.param(["enqueue", "x", "-q", "my queue"], 2, "-q' / '--queue': 'my queue' is no queue name", id="queue"),
        pytest.param(["enqueue", "counts", "-q", "", "--app", "jobs_for_tests:app"], 2, "'' is no queue name", id="''"),
        pytest.param(["enqueue", ""], 1, "a job is enqueued by its name", id="name"),
    ],
)
def test_mistake_is_told_in_a_line(redis_server: RedisServer, arguments: list[str], code: int, message: str) -> None:
    done = jobworker(redis_server, *arguments)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("jobs_for_tests:api", "it has jobs_for_tests:app"),
        ("jobs_for_tests:traces", "jobs_for_tests:traces is a Redis, no App; it has"),
        ("json:loads", "json:loads is a function, no App; it has no App at all"),
        ("json:app", "it has no App at all"),
        (":app", "names no module"),
        ("xml.nothing:app", "there is no module xml.nothing"),
    ],
)
def test_application_that_is_not_there_is_told_with_those_that_are(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, target: str, message: str
) -> None:
    monkeypatch.setenv("JOBWORKER_REDIS_URL", redis_server.url)
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    with pytest.raises(ConfigurationError, match=message):
        load(target)


@pytest.mark.parametrize("written", ["", " ", "mails,x", "a,0", "a,101", ",5", "a b a"])
def test_queues_that_cannot_be_are_wrong_usage(written: str) -> None:
    with pytest.raises(click.BadParameter) as wrong:
        queues_of(App(), written)
    assert wrong.value.exit_code == 2
    assert "-q/--queues or JOBWORKER_QUEUES" in wrong.value.format_message()


def test_check_lists_the_jobs_with_their_parameters(redis_server: RedisServer) -> None:
    done = jobworker(redis_server, "check", "jobs_for_tests:app")
    assert done.returncode == 0
    assert "Rows(path: 'str') -> 'None'  iterating, queue default, 25 retries" in done.stdout
    assert "fails_once(name: 'str') -> 'None'  plain, queue default, 2 retries" in done.stdout


JOBS_TO_CHECK = """
from jobworker import App, ExportingJob, ParallelJob, list_items

app = App()


@app.job(retry=1)
class Sums(ParallelJob):
    def split(self):
        return [1, 2]

    def build_enumerator(self, *, cursor):
        return list_items([1], cursor)

    def each_iteration(self, item):
        pass


@app.job
class Report(ExportingJob):
    def build_enumerator(self, *, cursor):
        return list_items([["a"]], cursor)
"""


def test_check_tells_parallel_jobs_and_exports_that_go_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, redis_server: RedisServer
) -> None:
    (tmp_path / "checked_jobs.py").write_text(JOBS_TO_CHECK)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    done = jobworker(redis_server, "check", "checked_jobs:app")
    assert done.returncode == 1
    assert "Sums()  parallel, queue default, 1 retry\n" in done.stdout
    assert "Report() -> 'None'  iterating, queue default, 25 retries\n" in done.stdout
    assert "Error: Report: set destination = S3Bucket(…) in the class" in done.stderr


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
