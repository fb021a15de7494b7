"""The examples' large export and import, small: what is written is what is read, each row once."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from redis.asyncio import Redis

from jobworker.testing import capture, simulate_drain_sync
from tests.redis_server import RedisServer
from tests.s3_server import S3Server

pytestmark = pytest.mark.redis

ROWS = 1_234


@pytest.fixture
def ledger(
    s3: S3Server, redis: Redis, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ModuleType]:
    monkeypatch.setenv("JOBWORKER_REDIS_URL", redis_server.url)
    monkeypatch.setattr(sys, "path", [str(Path(__file__).parents[4] / "examples" / "jobs"), *sys.path])
    from shop import effects  # noqa: PLC0415  # found by the path above
    from shop import ledger as module  # noqa: PLC0415  # the same

    effects.redis.cache_clear()
    yield module
    effects.redis().close()
    effects.redis.cache_clear()


def test_ledger_is_written_and_each_row_is_read_once(s3: S3Server, ledger: ModuleType) -> None:
    with capture(ledger.app) as jobs:
        ledger.ExportLedger.enqueue_sync("ledger.csv", ROWS, 1e9)
        ledger.ImportLedger.enqueue_sync("ledger.csv", 1e9)
        jobs.run_all_sync()
    assert hashlib.sha256(s3.read("ledger.csv")).hexdigest() == ledger.checksum(ROWS)
    assert ledger.times_handled("ledger.csv", ROWS) == {0: 0, 1: ROWS, 2: 0, 3: 0}
    assert ledger.times_handled("ledger.csv", ROWS + 10) == {0: 10, 1: ROWS, 2: 0, 3: 0}


def test_import_of_the_ledger_does_no_row_twice_when_it_is_interrupted(s3: S3Server, ledger: ModuleType) -> None:
    with capture(ledger.app) as jobs:
        ledger.ExportLedger.enqueue_sync("ledger.csv", ROWS, 1e9)
        jobs.run_all_sync()

    def effects() -> object:
        return ledger.times_handled("ledger.csv", ROWS)

    def reset() -> None:
        ledger.effects.redis().delete(ledger.effects.ledger_key("ledger.csv"))

    simulate_drain_sync(ledger.ImportLedger, "ledger.csv", 1e9, reset=reset, effects=effects, most=20)
