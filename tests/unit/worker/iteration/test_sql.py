from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects import mssql, postgresql
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, aliased, mapped_column, sessionmaker

from jobworker import ConfigurationError, CursorMismatch, IteratingJob, in_batches, sql_ranges, sql_records
from jobworker.iteration.enumerators.key_sets import key_set
from jobworker.testing import simulate_drain, simulate_drain_sync
from tests.resuming import resumed_everywhere, resumed_everywhere_async, travelled

POSTGRES: Any = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy's
MSSQL: Any = mssql.dialect()  # type: ignore[no-untyped-call]  # the same


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    city: Mapped[str | None]


class Visit(Base):
    __tablename__ = "visits"
    tenant: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)


LOGS = sa.Table("logs", Base.metadata, sa.Column("line", sa.String, nullable=False))
VISITS = [Visit(tenant=tenant, number=number) for tenant in "acb" for number in (3, 1, 2)]


def sample(engine: sa.Engine) -> sa.Engine:
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(
            sa.insert(User), [{"id": n, "name": f"n{n % 3}", "city": "x"} for n in (5, 1, 4, 9, 7, 2, 8)]
        )
        connection.execute(sa.insert(Visit), [{"tenant": each.tenant, "number": each.number} for each in VISITS])
    return engine


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    made = sample(sa.create_engine(f"sqlite:///{tmp_path}/db"))
    yield made
    made.dispose()


@pytest.fixture
async def async_engine(engine: sa.Engine) -> AsyncIterator[AsyncEngine]:
    made = create_async_engine(f"sqlite+aiosqlite:///{engine.url.database}")
    yield made
    await made.dispose()


IDS = [1, 2, 4, 5, 7, 8, 9]


@pytest.mark.parametrize("page", [1, 2, 3, 7, 1_000])
def test_rows_go_on_at_any_key(engine: sa.Engine, page: int) -> None:
    rows = resumed_everywhere(lambda cursor: sql_records(engine, sa.select(User), cursor, page=page))
    assert [row.id for row in rows] == IDS
    assert rows[0].name == "n1"
    assert sql_records(engine, sa.select(User), None, count=True).total == 7


ORDERS: list[tuple[tuple[Any, ...], Any]] = [
    ((), lambda each: (each.tenant, each.number)),
    ((Visit.number, Visit.tenant), lambda each: (each.number, each.tenant)),
    ((sa.desc(Visit.tenant), Visit.number.desc()), lambda each: (-ord(each.tenant), -each.number)),
    ((Visit.tenant.asc(), Visit.number.desc()), lambda each: (each.tenant, -each.number)),
]


@pytest.mark.parametrize(("order", "sorted_by"), ORDERS)
@pytest.mark.parametrize("page", [1, 2, 4])
def test_composite_keys_in_any_direction(engine: sa.Engine, order: tuple[Any, ...], sorted_by: Any, page: int) -> None:
    expected = [(each.tenant, each.number) for each in sorted(VISITS, key=sorted_by)]
    query = sa.select(Visit).order_by(*order)
    assert resumed_everywhere(lambda cursor: sql_records(engine, query, cursor, page=page)) == expected
    # Databases without row values get the same written out.
    keys = key_set("sql_records", query)
    with engine.connect() as connection:
        for index, key in enumerate(expected):
            by_key = dict(zip(("tenant", "number"), key, strict=True))
            after = tuple(by_key[name] for name in keys.names)
            for row_values in (True, False):
                found = connection.execute(keys.following(after, row_values=row_values)).all()
                assert found == expected[index + 1 :]


def test_sessions_give_objects(engine: sa.Engine) -> None:
    opened = sessionmaker(engine)
    users = [user for user, _ in sql_records(opened, sa.select(User).where(User.id > 4), None, page=2)]
    assert [(type(user), user.id, user.name) for user in users] == [
        (User, 5, "n2"), (User, 7, "n1"), (User, 8, "n2"), (User, 9, "n0"),
    ]  # fmt: skip
    names = [row for row, _ in sql_records(opened, sa.select(User.id, User.name), None, page=2)]
    assert names[0] == (1, "n1")
    other = aliased(User)
    assert [user.id for user, _ in sql_records(opened, sa.select(other), None, page=2)] == IDS


async def test_async_engines_and_sessions(async_engine: AsyncEngine) -> None:
    rows = await resumed_everywhere_async(functools.partial(sql_records, async_engine, sa.select(User), page=2))
    assert [row.id for row in rows] == IDS
    users = [user async for user, _ in sql_records(async_sessionmaker(async_engine), sa.select(User), None, page=2)]
    assert [(type(user), user.id) for user in users] == [(User, number) for number in IDS]
    ranges = await resumed_everywhere_async(functools.partial(sql_ranges, async_engine, sa.select(User), size=3))
    assert [(each.after, each.last) for each in ranges] == [(None, (4,)), ((4,), (8,)), ((8,), (9,))]


def test_ranges_cover_every_row_once(engine: sa.Engine) -> None:
    query = sa.select(User).where(User.id != 7)
    ranges = resumed_everywhere(lambda cursor: sql_ranges(engine, query, cursor, size=2))
    with engine.begin() as connection:
        assert [connection.execute(each.query).scalars().all() for each in ranges] == [[1, 2], [4, 5], [8, 9]]
        updated = [
            connection.execute(sa.update(User).where(each.condition).values(city="y")).rowcount for each in ranges
        ]
    assert updated == [2, 2, 3], "the condition is of the key alone"
    assert sql_ranges(engine, query, None, size=4, count=True).total == 2


def test_row_that_comes_between_two_ranges_belongs_to_the_second(engine: sa.Engine) -> None:
    ranges = iter(sql_ranges(engine, sa.select(User), None, size=2))
    next(ranges)
    (second, _) = next(ranges)
    with engine.begin() as connection:
        connection.execute(sa.insert(User), [{"id": 3, "name": "late"}])
        assert connection.execute(second.query).scalars().all() == [3, 4, 5]


@given(data=st.data(), page=st.integers(1, 4))
def test_rows_that_come_and_go_move_no_others(data: st.DataObject, page: int) -> None:
    engine = sample(sa.create_engine("sqlite://", poolclass=sa.StaticPool))
    steady, walked, done, cursor = set(IDS), [], 0, None
    walk = iter(sql_records(engine, sa.select(User), None, page=page))
    while (pair := next(walk, None)) is not None:
        walked.append(pair[0].id)
        done, cursor = pair[0].id, travelled(pair[1])
        with engine.begin() as connection:
            for number in data.draw(st.lists(st.integers(1, 12), max_size=2, unique=True)):
                steady.discard(number)
                if connection.execute(sa.delete(User).where(User.id == number)).rowcount == 0:
                    connection.execute(sa.insert(User), [{"id": number, "name": "new"}])
        if data.draw(st.booleans()):
            walk = iter(sql_records(engine, sa.select(User), cursor, page=page))
    assert walked == sorted(set(walked)), "in order, none twice"
    assert steady <= set(walked)
    with engine.connect() as connection:
        assert connection.execute(sa.select(User).where(User.id > done)).all() == []
    engine.dispose()


def test_only_the_next_page_is_read(engine: sa.Engine) -> None:
    read: list[int] = []
    with engine.begin() as connection:
        connection.execute(sa.insert(User), [{"id": n, "name": "n"} for n in range(100, 5_100)])
    sa.event.listen(engine, "after_cursor_execute", lambda *args: read.append(args[2]))
    walk = iter(sql_records(engine, sa.select(User), {"key": ["id"], "after": [4_000]}, page=10))
    assert next(walk)[0].id == 4_001
    assert len(read) == 1
    assert "users.id > ?" in str(read[0])
    assert "LIMIT ?" in str(read[0])
    with engine.connect() as connection:
        (plan,) = connection.exec_driver_sql("EXPLAIN QUERY PLAN " + str(read[0]), (4_000, 11, 0)).all()
    assert plan[-1] == "SEARCH users USING INTEGER PRIMARY KEY (rowid>?)"


def test_no_connection_is_held_between_two_pages(engine: sa.Engine) -> None:
    walk = iter(sql_records(engine, sa.select(User), None, page=2))
    next(walk)
    assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]  # of the pool that files have


KEYS: list[tuple[Any, list[Any]]] = [
    (sa.String(), ["", "a", "a,b", "ü", "\U0001f600"]),
    (sa.BigInteger(), [-(2**63), 0, 2**63 - 1]),
    (sa.Uuid(), [UUID(int=1), UUID(int=2**100)]),
    (sa.DateTime(), [datetime(2026, 1, 1), datetime(2026, 1, 1, 0, 0, 0, 5)]),  # noqa: DTZ001  # as a column without a zone has them
    (sa.Date(), [date(2026, 1, 1), date(2026, 1, 2)]),
    (sa.LargeBinary(), [b"\x00", b"\x00\xff", b"a"]),
    (sa.Float(), [-1.5, 0.1, 1e300]),
]


@pytest.mark.parametrize(("kind", "values"), KEYS)
def test_keys_of_many_types(tmp_path: Path, kind: Any, values: list[Any]) -> None:
    table = sa.Table("t", sa.MetaData(), sa.Column("key", kind, primary_key=True))
    engine = sa.create_engine(f"sqlite:///{tmp_path}/db")
    table.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(sa.insert(table), [{"key": value} for value in values])
    rows = resumed_everywhere(lambda cursor: sql_records(engine, sa.select(table), cursor, page=1))
    assert [row.key for row in rows] == values
    engine.dispose()


@pytest.mark.parametrize("value", [Decimal("1.10"), datetime(2026, 1, 1, tzinfo=UTC), 2**70, True, -1])
def test_keys_travel_as_they_are(value: Any) -> None:
    keys = key_set("sql_records", sa.select(Visit))
    read = keys.read("sql_records", travelled(keys.cursor(("a", value))))
    assert read == ("a", value)
    assert type(read[1]) is type(value)


def test_dialects_say_what_follows_in_their_own_words() -> None:
    keys = key_set("sql_records", sa.select(Visit))
    said = str(keys.beyond(("a", 1), row_values=True).compile(dialect=POSTGRES))
    assert said.startswith("(visits.tenant, visits.number) > (")
    said = str(keys.beyond(("a", 1), row_values=False).compile(dialect=MSSQL))
    assert " OR visits.tenant = " in said


SELECTED: list[tuple[Any, str]] = [
    (sa.text("select 1"), r"walks over a select\(…\), not over TextClause"),
    (sa.select(LOGS), "the query has no order, and no primary key to be ordered by; add .order_by"),
    (sa.select(User.id, Visit.number).join(Visit, Visit.number == User.id), "the query has no order; add .order_by"),
    (sa.select(User).limit(5), "leave out the query's own limit"),
    (sa.select(User).offset(5).order_by(User.id), "leave out the query's own limit"),
    (sa.select(User).order_by(sa.func.lower(User.name)), r"ordered by lower\(users\.name\), which is no column"),
    (sa.select(User).order_by(User.city.nulls_last()), "which is no column"),
    (sa.select(User.name), "goes on by users.id, which the query does not select; add it"),
    (sa.select(User).order_by(User.name), "several rows have name = 'n1', of which some would be lost"),
]


@pytest.mark.parametrize(("query", "message"), SELECTED)
@pytest.mark.parametrize("page", [1, 100])
def test_query_that_cannot_be_walked_says_why(engine: sa.Engine, query: Any, message: str, page: int) -> None:
    with pytest.raises(ConfigurationError, match=message):
        list(sql_records(engine, query, None, page=page))


def test_null_in_the_key_is_no_row_lost_in_silence(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        connection.execute(sa.insert(User), [{"id": 20, "name": "n", "city": None}])
    query = sa.select(User).order_by(User.city.desc(), User.id)
    with pytest.raises(ConfigurationError, match="a row has NULL in its key"):
        list(sql_records(engine, query, None, page=2))
    with_city = query.where(User.city.is_not(None))
    assert [row.id for row, _ in sql_records(engine, with_city, None, page=2)] == IDS


@pytest.mark.parametrize("cursor", [3, [1, 20], {"page": "x", "done": 1}, {"key": ["id"], "after": [{"complex": "1"}]}])
def test_cursor_of_another_enumerator_is_refused(engine: sa.Engine, cursor: Any) -> None:
    for walk in (sql_records, sql_ranges):
        with pytest.raises(CursorMismatch, match=f"{walk.__name__} cannot go on from the cursor"):
            walk(engine, sa.select(User), cursor)


def test_cursor_of_another_key_is_refused(engine: sa.Engine) -> None:
    (_, cursor) = next(iter(sql_records(engine, sa.select(Visit), None)))
    with pytest.raises(CursorMismatch, match="was walking by tenant, number and shall go on by id"):
        sql_records(engine, sa.select(User), cursor)


async def test_async_walk_knows_its_total_once_it_has_counted(async_engine: AsyncEngine) -> None:
    walk = sql_records(async_engine, sa.select(User), None, page=2)
    assert walk.total is None
    assert (await walk.counted()).total == 7
    assert in_batches(await sql_records(async_engine, sa.select(User), None).counted(), 3).total == 3
    assert (await sql_ranges(async_sessionmaker(async_engine), sa.select(User), None, size=4).counted()).total == 2
    assert [row.id async for row, _ in walk] == IDS


def test_what_cannot_open_connections_is_refused(engine: sa.Engine, async_engine: AsyncEngine) -> None:
    with sessionmaker(engine)() as session, pytest.raises(ConfigurationError, match=r"a sessionmaker .*not Session"):
        sql_records(session, sa.select(User), None)  # type: ignore[call-overload]  # the mistake
    with pytest.raises(ConfigurationError, match=r"return await sql_records\(…\)\.counted\(\)"):
        sql_records(async_engine, sa.select(User), None, count=True)  # type: ignore[call-overload]  # the mistake
    with pytest.raises(ConfigurationError, match="a page of 0 rows"):
        sql_records(engine, sa.select(User), None, page=0)


def test_nobody_imports_sqlalchemy_who_walks_over_no_table() -> None:
    said = "import sys, jobworker; sys.exit('sqlalchemy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", said], check=False).returncode == 0
    said = "import sys; sys.modules['sqlalchemy'] = None; import jobworker; jobworker.sql_records(1, 2, 3)"
    ran = subprocess.run([sys.executable, "-c", said], check=False, capture_output=True, text=True)
    assert "pip install 'jobworker[sql]'" in ran.stderr


ENGINES: dict[str, Any] = {}


class Delete(IteratingJob):
    def build_enumerator(self, *, cursor: Any) -> Any:
        return sql_ranges(ENGINES["plain"], sa.select(User).where(User.id != 5), cursor, size=2)

    def each_iteration(self, item: Any) -> None:
        with ENGINES["plain"].begin() as connection:
            connection.execute(sa.delete(User).where(item.condition, User.id != 5))


class Rename(IteratingJob):
    def build_enumerator(self, *, cursor: Any) -> Any:
        return in_batches(sql_records(ENGINES["async"], sa.select(User), cursor, page=3), 2)

    async def each_iteration(self, batch: list[Any]) -> None:
        async with ENGINES["async"].begin() as connection:
            for row in batch:
                await connection.execute(sa.update(User).where(User.id == row.id).values(name=User.name + "+"))


def names(engine: sa.Engine) -> list[Any]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(sa.select(User.id, User.name).order_by(User.id))]


def begin_again(engine: sa.Engine) -> None:
    Base.metadata.drop_all(engine)
    sample(engine)


def test_job_that_deletes_what_it_walks_over_bears_deploys_and_kills(engine: sa.Engine) -> None:
    ENGINES["plain"] = engine
    simulate_drain_sync(Delete, reset=lambda: begin_again(engine), effects=lambda: names(engine), crash=True)
    assert names(engine) == [(5, "n2")]


async def test_async_job_bears_deploys(engine: sa.Engine, async_engine: AsyncEngine) -> None:
    ENGINES["async"] = async_engine
    await simulate_drain(Rename, reset=lambda: begin_again(engine), effects=lambda: names(engine))
    assert names(engine)[0] == (1, "n1+")
