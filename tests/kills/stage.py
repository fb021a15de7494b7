"""The servers of a run, and the environment by which workers find them."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.chaos.records import FOLDER
from tests.kills.names import POSTGRES, SQLITE
from tests.postgres_server import PostgresServer
from tests.redis_server import RedisServer
from tests.s3_server import S3Server


@contextmanager
def stage(folder: Path) -> Iterator[S3Server]:
    """All of them, until they are not needed any more. The jobs may be imported inside only."""
    with ExitStack() as stack:
        redis = stack.enter_context(RedisServer(folder / "redis"))
        postgres = stack.enter_context(PostgresServer())
        (folder / "s3").mkdir()
        s3 = stack.enter_context(S3Server(folder / "s3"))
        sqlite, notes = folder / "sqlite", folder / "notes"
        for each in (sqlite, notes):
            each.mkdir()
        os.environ.update(s3.environment)
        os.environ.update(
            {"JOBWORKER_REDIS_URL": redis.url, POSTGRES: postgres.url, SQLITE: str(sqlite), FOLDER: str(notes)}
        )
        yield s3


def write_rows(path: Path, rows: int) -> None:
    """What is imported."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "name"])
        writer.writerows([number, f"name of {number}"] for number in range(rows))
