"""What is walked over, once as a job does it and once as a plain loop does, each over the same source."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import orjson
import sqlalchemy as sa

from jobworker import csv_rows, json_lines, list_items, number_range, sql_records

_PAGE = 1_000
_users = sa.Table(
    "bench_rows",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String, nullable=False),
    sa.Column("cents", sa.Integer, nullable=False),
)


def enumerator(kind: str, place: Any, cursor: Any) -> Iterable[tuple[Any, Any]]:
    """Of a job. ``place`` is a path, the URL of a database, or how many there are of what needs no place."""
    match kind:
        case "list":
            return list_items(_numbers(place), cursor)
        case "range":
            return number_range(0, place, cursor)
        case "csv":
            return csv_rows(place, cursor)
        case "json":
            return json_lines(place, cursor)
        case "sql":
            return sql_records(engine(place), sa.select(_users), cursor, page=_PAGE)
        case _:
            raise ValueError(f"there is nothing called {kind!r} to walk over")


@contextmanager
def plain(kind: str, place: Any) -> Iterator[Iterator[Any]]:
    """What somebody writes who needs no cursor; JSON is decoded by the same library as in `json_lines`."""
    match kind:
        case "list":
            yield iter(_numbers(place))
        case "range":
            yield iter(range(place))
        case "csv":
            with Path(place).open(encoding="utf-8", newline="") as file:
                yield csv.DictReader(file)
        case "json":
            with Path(place).open("rb") as file:
                yield map(orjson.loads, file)
        case "sql":
            with engine(place).connect() as connection:
                query = sa.select(_users).order_by(_users.c.id).execution_options(yield_per=_PAGE)
                yield iter(connection.execute(query))
        case _:
            raise ValueError(f"there is nothing called {kind!r} to walk over")


@cache
def _numbers(count: int) -> list[int]:
    return list(range(count))


@cache
def engine(url: str) -> sa.Engine:
    """Made once, as an application does when it starts; it connects when it is first used."""
    return sa.create_engine(url)
