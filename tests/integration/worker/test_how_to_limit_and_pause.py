"""The commands of the page about limits and pauses say what the page shows."""

from __future__ import annotations

import shlex

import pytest
import redis as plain
from click.testing import CliRunner

from jobworker import SyncClient
from jobworker.cli.main import cli
from tests.redis_server import RedisServer
from tests.unit.docs.pages import HOW_TO, blocks

pytestmark = pytest.mark.redis

SHOWN = [
    (line.removeprefix("$ jobworker "), answer)
    for block in blocks(HOW_TO / "middleware-and-limits.md", "console")
    for line, answer in zip(block.splitlines()[::2], block.splitlines()[1::2], strict=True)
]


def test_commands_of_the_page_answer_as_it_shows(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBWORKER_REDIS_URL", redis_server.url)
    with plain.Redis.from_url(redis_server.url) as database:
        database.flushall()
        for queue in ("mails", "reports", "imports"):
            SyncClient(database).enqueue("Mail", [], queue=queue)
    assert len(SHOWN) >= 8
    for command, answer in SHOWN:
        done = CliRunner().invoke(cli, shlex.split(command))
        assert (done.exit_code, done.stdout) == (0, answer + "\n"), command
