"""Databases for the tests: a PostgreSQL for the session, and a file of SQLite for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.postgres_server import PostgresServer

DATABASES = ["postgresql", "sqlite"]


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A server that stays up; a test that ends it makes its own instead."""
    with PostgresServer() as server:
        yield server


@pytest.fixture
def empty_postgres(postgres: PostgresServer) -> str:
    """The URL of a database without tables."""
    engine = sa.create_engine(postgres.url)
    with engine.begin() as connection:
        connection.execute(sa.text("DROP SCHEMA public CASCADE"))
        connection.execute(sa.text("CREATE SCHEMA public"))
    engine.dispose()
    return postgres.url


@pytest.fixture(params=DATABASES)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database of each kind, for plain engines; ``of_async`` makes one for async engines."""
    if request.param == "sqlite":
        return sqlite_url(tmp_path)
    url: str = request.getfixturevalue("empty_postgres")
    return url


def sqlite_url(folder: Path) -> str:
    """A file; who finds it locked waits for half a second and not for five."""
    return f"sqlite:///{folder / 'effects.db'}?timeout=0.5"


def hasty(engine: Any) -> Any:
    """The engine, plain or async; SQLite does not wait for the disk, which would take minutes on a busy machine."""

    def on_connect(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA synchronous = OFF").close()

    if engine.dialect.name == "sqlite":
        sa.event.listen(getattr(engine, "sync_engine", engine), "connect", on_connect)
    return engine


def of_async(url: str) -> str:
    """The same database for an async engine."""
    return url.replace("sqlite:", "sqlite+aiosqlite:")
