"""The application of the kill run: one job for each promise, each of which leaves effects that can be counted.

It is imported once, by the process that forks all workers, after the environment has told where the servers are. No
engine has a connection before the fork.
"""

from __future__ import annotations

import hashlib
import os
import time
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker

from jobworker import (
    App,
    ExportingJob,
    IteratingJob,
    RawFile,
    S3Bucket,
    SqlCheckpoints,
    context,
    csv_rows,
    number_range,
)
from tests.chaos.records import Own
from tests.kills.names import BEGAN, FLUSH_SECONDS, POSTGRES, SQLITE
from tests.s3_server import BUCKET

ROWS = 120
WRONG = 17
"""Each seventeenth row raises after its effect."""
EXPORTED_ROWS, ROW_BYTES = 48, 256 << 10  # twelve megabytes: three parts of S3's smallest size

app = App()
own = Own()


class Wrong(Exception):
    """A row that the import refuses."""


class Base(DeclarativeBase):
    """The tables of the application."""


class Effect(Base):
    """That something was done; nothing forbids a second row of the same."""

    __tablename__ = "effects"
    id: Mapped[int] = mapped_column(primary_key=True)
    jid: Mapped[str] = mapped_column(index=True)
    what: Mapped[str]


def walk_begins() -> None:
    """Let whoever forked this process know that a job is at work in it."""
    told = os.environ.pop(BEGAN, None)
    if told is not None:
        os.write(int(told), b".")


def effect(what: str) -> dict[str, str]:
    return {"jid": context().jid, "what": what}


def _sqlite(name: str) -> str:
    return f"/{os.environ[SQLITE]}/{name}.db?timeout=1"


def hasty(engine: sa.Engine) -> sa.Engine:
    """No waiting for the disk: the machine does not crash, and its processes die alone."""

    def on_connect(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA synchronous = OFF").close()

    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", on_connect)
    return engine


plain_postgres = sa.create_engine(os.environ[POSTGRES])
async_postgres = create_async_engine(os.environ[POSTGRES])
plain_sqlite = hasty(sa.create_engine(f"sqlite://{_sqlite('plain')}"))
async_sqlite = create_async_engine(f"sqlite+aiosqlite://{_sqlite('async')}")
hasty(async_sqlite.sync_engine)


class PlainImport(IteratingJob):
    """Rows of a CSV file into a table, on a connection."""

    on_error = "record"
    checkpoints = SqlCheckpoints(plain_postgres, every=7)

    def build_enumerator(self, path: str, *, cursor: list[int] | None) -> csv_rows:
        walk_begins()
        return csv_rows(path, cursor, count=True)

    def write(self, what: str) -> None:
        self.transaction.execute(sa.insert(Effect).values(effect(what)))

    def each_iteration(self, row: dict[str, str], path: str) -> None:  # noqa: ARG002  # each item gets the arguments
        self.write(row["id"])
        time.sleep(0.001)
        if int(row["id"]) % WRONG == 0:
            raise Wrong(row["id"])

    def on_start(self) -> None:
        self.write("start")

    def on_complete(self) -> None:
        self.write("complete")


class SqlitePlainImport(PlainImport):
    """The same by a session, without savepoints, on SQLite."""

    checkpoints = SqlCheckpoints(sessionmaker(plain_sqlite), every=7, savepoints=False)

    def write(self, what: str) -> None:
        self.transaction.add(Effect(**effect(what)))


class AsyncImport(IteratingJob):
    """The same on the event loop, by a session."""

    on_error = "record"
    checkpoints = SqlCheckpoints(async_sessionmaker(async_postgres), every=7)

    def build_enumerator(self, path: str, *, cursor: list[int] | None) -> csv_rows:
        walk_begins()
        return csv_rows(path, cursor, count=True)

    async def write(self, what: str) -> None:
        self.transaction.add(Effect(**effect(what)))
        await self.transaction.flush()

    async def each_iteration(self, row: dict[str, str], path: str) -> None:  # noqa: ARG002  # each item gets the arguments
        await self.write(row["id"])
        if int(row["id"]) % WRONG == 0:
            raise Wrong(row["id"])

    async def on_start(self) -> None:
        await self.write("start")

    async def on_complete(self) -> None:
        await self.write("complete")


class SqliteAsyncImport(AsyncImport):
    """The same by a connection, on SQLite."""

    checkpoints = SqlCheckpoints(async_sqlite, every=7)

    async def write(self, what: str) -> None:
        await self.transaction.execute(sa.insert(Effect).values(effect(what)))


class CsvImport(IteratingJob):
    """Without a transaction: what a SIGKILL repeats lies within one interval between checkpoints."""

    checkpoint_seconds = FLUSH_SECONDS

    def build_enumerator(self, path: str, *, cursor: list[int] | None) -> csv_rows:
        walk_begins()
        own.note("walk", jid=context().jid, at=cursor[0] if cursor else 0)
        return csv_rows(path, cursor, count=True)

    def each_iteration(self, row: dict[str, str], path: str) -> None:  # noqa: ARG002  # as above
        own.note("row", jid=context().jid, row=int(row["id"]))
        time.sleep(0.002)

    def on_complete(self) -> None:
        own.note("complete", jid=context().jid)


def line(number: int) -> bytes:
    """A row of the export, not like any other."""
    text = hashlib.sha256(str(number).encode()).hexdigest().encode()
    return (b"%d," % number + text * (ROW_BYTES // len(text) + 1))[: ROW_BYTES - 1] + b"\n"


def checksum() -> str:
    """Of a whole export."""
    whole = hashlib.sha256()
    for number in range(EXPORTED_ROWS):
        whole.update(line(number))
    return whole.hexdigest()


class Export(ExportingJob):
    """Rows to an object of the job's own."""

    destination = S3Bucket(BUCKET)
    file = RawFile()
    part_size = 5 << 20
    checkpoint_seconds = FLUSH_SECONDS

    def key(self, path: str) -> str:  # noqa: ARG002  # each callback gets the job's arguments
        return context().jid

    def build_enumerator(self, path: str, *, cursor: int | None) -> Any:  # noqa: ARG002  # as above
        walk_begins()
        return number_range(0, EXPORTED_ROWS, cursor)

    def row(self, item: int, path: str) -> bytes:  # noqa: ARG002  # as above
        return line(item)

    def on_complete(self) -> None:
        own.note("complete", jid=context().jid)


for _job in (PlainImport, SqlitePlainImport, AsyncImport, SqliteAsyncImport, CsvImport, Export):
    # Its workers die all the time, and not because of it.
    app.job(queue=_job.__name__, poison_after=0)(_job)
