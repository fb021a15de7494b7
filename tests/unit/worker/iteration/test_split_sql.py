"""Slices of a query by key: every row is in one of them, also those that come later."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import sessionmaker

from jobworker import ConfigurationError, CursorMismatch, split_sql, sql_ranges, sql_records
from tests.resuming import resumed_everywhere, travelled

METADATA = sa.MetaData()
VISITS = sa.Table(
    "visits", METADATA,
    sa.Column("tenant", sa.String, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("seen", sa.Integer, nullable=False, default=0),
    sa.Column("note", sa.String),
)  # fmt: skip
QUERIES = [
    sa.select(VISITS),
    sa.select(VISITS).where(VISITS.c.number > 1).order_by(VISITS.c.tenant.desc(), VISITS.c.number),
    sa.select(VISITS).order_by(VISITS.c.number.desc(), VISITS.c.tenant.desc()),
]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    made = sa.create_engine(f"sqlite:///{tmp_path}/db")
    METADATA.create_all(made)
    yield made
    made.dispose()


def fill(engine: sa.Engine, *keys: tuple[str, int]) -> None:
    if not keys:
        return
    with engine.begin() as connection:
        connection.execute(sa.insert(VISITS), [{"tenant": tenant, "number": number} for tenant, number in keys])


def keys(rows: list[Any]) -> list[tuple[str, int]]:
    return [(row.tenant, row.number) for row in rows]


def walk(engine: sa.Engine, query: Any, some: Any) -> list[Any]:
    """The rows of a slice, interrupted everywhere."""
    return resumed_everywhere(lambda cursor: sql_records(engine, query, cursor, page=3, between=some))


SOME = [(tenant, number) for tenant in "abcd" for number in range(7)]


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("parts", [1, 2, 5, 28, 100])
def test_every_row_is_in_one_slice_of_about_the_same_size(engine: sa.Engine, query: Any, parts: int) -> None:
    fill(engine, *SOME)
    whole = keys([row for row, _ in sql_records(engine, query, None)])
    slices = travelled(split_sql(engine, query, parts))
    assert len(slices) == min(parts, len(whole))
    walked = [walk(engine, query, some) for some in slices]
    assert [key for rows in walked for key in keys(rows)] == whole
    sizes = [len(rows) for rows in walked]
    assert max(sizes) - min(sizes) <= 1
    for some, size in zip(slices, sizes, strict=True):
        assert sql_records(engine, query, None, count=True, between=some).total == size
    assert split_sql(sessionmaker(engine), query, parts) == slices


@pytest.mark.parametrize("query", QUERIES)
def test_statements_on_the_ranges_of_all_slices_change_each_row_once(engine: sa.Engine, query: Any) -> None:
    fill(engine, *SOME)
    for some in split_sql(engine, query, 4):
        for item, _ in sql_ranges(engine, query, None, size=3, between=some):
            with engine.begin() as connection:
                connection.execute(sa.update(VISITS).where(item.condition).values(seen=VISITS.c.seen + 1))
    with engine.connect() as connection:
        chosen = {tuple(row[:2]) for row in connection.execute(query)}
        seen = {(tenant, number): seen for tenant, number, seen, _ in connection.execute(sa.select(VISITS))}
    assert {key for key, times in seen.items() if times == 1} >= chosen
    assert set(seen.values()) <= {0, 1}


@given(rows=st.sets(st.tuples(st.sampled_from("ab"), st.integers(-3, 3))), parts=st.integers(1, 9))
def test_rows_that_come_later_are_in_one_slice_too(rows: set[tuple[str, int]], parts: int) -> None:
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    METADATA.create_all(engine)
    fill(engine, ("b", 0), ("a", 1), ("a", 2), ("b", 9))
    slices = split_sql(engine, QUERIES[0], parts)
    fill(engine, *(rows - {("b", 0), ("a", 1), ("a", 2)}))
    walked = [row for some in slices for row, _ in sql_records(engine, QUERIES[0], None, between=some)]
    assert keys(walked) == sorted(rows | {("b", 0), ("a", 1), ("a", 2), ("b", 9)})
    engine.dispose()


async def test_async_engine_is_split_alike(engine: sa.Engine) -> None:
    fill(engine, *SOME)
    made = create_async_engine(f"sqlite+aiosqlite:///{engine.url.database}")
    slices = await split_sql(made, QUERIES[0], 3)
    assert slices == split_sql(engine, QUERIES[0], 3)
    walked = [row async for row, _ in sql_records(made, QUERIES[0], None, between=slices[1])]
    assert keys(walked) == keys([row for row, _ in sql_records(engine, QUERIES[0], None, between=slices[1])])
    await made.dispose()


def test_what_cannot_be_split_is_refused_by_what_to_do(engine: sa.Engine) -> None:
    assert split_sql(engine, QUERIES[0], 3) == []
    with pytest.raises(ValueError, match="at least one"):
        split_sql(engine, QUERIES[0], 0)
    with pytest.raises(ConfigurationError, match="opens a connection"):
        split_sql("sqlite://", QUERIES[0], 3)  # type: ignore[call-overload]  # that is what is refused
    fill(engine, *SOME)
    with pytest.raises(ConfigurationError, match="NULL in its key"):
        split_sql(engine, sa.select(VISITS).order_by(VISITS.c.note), 3)
    some = split_sql(engine, QUERIES[0], 3)[1]
    with pytest.raises(CursorMismatch, match="was walking by tenant, number"):
        sql_records(engine, QUERIES[2], None, between=some)
