"""The fetcher of the page about where jobs come from, in a real worker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from tests.redis_server import RedisServer
from tests.unit.docs.pages import HOW_TO, write_examples
from tests.waiting import wait_until_sync

pytestmark = pytest.mark.redis


def test_files_become_jobs_and_go_when_these_are_done(redis_server: RedisServer, tmp_path: Path) -> None:
    write_examples(HOW_TO / "where-jobs-come-from.md", tmp_path)
    inbox, archive = tmp_path / "inbox", tmp_path / "archive"
    inbox.mkdir()
    archive.mkdir()
    for n in range(25):
        (inbox / f"{n}.json").write_text(json.dumps([f"letter {n}"]))
    (inbox / "12a.json").write_text("no json")  # in the middle of a batch
    command = [sys.executable, "-m", "jobworker.cli", "run", "fetchers:app", "-c", "4", "--redis", redis_server.url]
    worker = subprocess.Popen(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path)})
    try:
        wait_until_sync(lambda: len(list(archive.iterdir())) == 25, 30)
        wait_until_sync(lambda: not list(inbox.iterdir()), 10)
        with redis.Redis.from_url(redis_server.url) as client:
            assert client.zcard("dead") == 1
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(30) == 0
    finally:
        worker.kill()
        worker.wait()
