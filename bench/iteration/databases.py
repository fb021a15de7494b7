"""A PostgreSQL of the run's own: the server that the tests use, with a table that is made in it."""

from __future__ import annotations

from types import TracebackType
from typing import Self

import pytest
import sqlalchemy as sa

from bench.iteration.sources import FIRST
from bench.worker.environments import Missing
from tests.postgres_server import PostgresServer


class Postgres:
    """Runs as long as the block lasts."""

    def __init__(self) -> None:
        self._server = PostgresServer()

    def __enter__(self) -> Self:
        try:
            self._server.__enter__()
        except (pytest.skip.Exception, pytest.fail.Exception) as error:  # how the tests say that it is not installed
            raise Missing(str(error)) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.__exit__(kind, error, trace)

    @property
    def url(self) -> str:
        """For SQLAlchemy."""
        return self._server.url

    def fill(self, rows: int) -> None:
        """Make the table of so many rows."""
        engine = sa.create_engine(self.url)
        with engine.begin() as connection:
            connection.execute(
                sa.text(
                    "CREATE UNLOGGED TABLE bench_rows AS SELECT i AS id, 'user'::varchar AS name, "
                    "1000 + i % 9000 AS cents FROM generate_series(:first, :last) AS i"
                ),
                {"first": FIRST, "last": FIRST + rows - 1},
            )
            connection.execute(sa.text("ALTER TABLE bench_rows ADD PRIMARY KEY (id)"))
            connection.execute(sa.text("ANALYZE bench_rows"))
        engine.dispose()
