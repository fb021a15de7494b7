"""What lies in the database at each moment of a walk: effects and cursor together, of one run at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import sessionmaker

from jobworker import ConfigurationError
from jobworker.iteration.keeping import Place
from jobworker.iteration.store import Stored, TakenBack
from jobworker.iteration.transactions.checkpoints import SqlCheckpoints
from jobworker.iteration.transactions.store import Store, Superseded
from jobworker.jobs.context import CURRENT, Context, Interruption
from jobworker.protocol.records import IterationState
from tests.integration.iteration.conftest import sqlite_url
from tests.integration.iteration.sql_sitting import KINDS, Job, Sit, Sitting, sitting
from tests.waiting import wait_until, wait_until_sync


@pytest.fixture(params=KINDS)
async def sit(request: pytest.FixtureRequest, database_url: str) -> AsyncIterator[Sit]:
    async with sitting(request.param, database_url) as make:
        yield make


@pytest.fixture(params=KINDS)
async def sit_on_postgres(request: pytest.FixtureRequest, empty_postgres: str) -> AsyncIterator[Sit]:
    async with sitting(request.param, empty_postgres) as make:
        yield make


@pytest.fixture(params=KINDS)
async def sit_on_sqlite(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Sit]:
    async with sitting(request.param, sqlite_url(tmp_path)) as make:
        yield make


async def test_effects_and_cursor_are_there_together_after_so_many_items(sit: Sit) -> None:
    seat = sit(every=3)
    assert await seat.load() == Stored(None, 0, None, began=False, over=False)
    await seat.walk(1, 2)
    assert (seat.rows(), seat.checkpoint()) == ([], ("new", None, 0))
    await seat.walk(3, 4)
    assert (seat.rows(), seat.checkpoint()) == ([1, 2, 3], ("walking", "3", 3))
    await seat.settle()
    assert (seat.rows(), seat.checkpoint()) == ([1, 2, 3, 4], ("walking", "4", 4))
    stored = await seat().load()
    assert (stored.cursor, stored.processed, stored.began, stored.over) == (b"4", 4, True, False)


async def test_effects_are_there_after_so_long(sit: Sit) -> None:
    seat = sit(every=1_000, seconds=1e-9)
    await seat.load()
    await seat.walk(1)
    assert (seat.rows(), seat.checkpoint()) == ([1], ("walking", "1", 1))


async def test_item_that_raises_takes_its_own_effects_with_it(sit: Sit) -> None:
    seat = sit(every=100)
    await seat.load()
    await seat.walk(1)
    with pytest.raises(ValueError, match="mine"):
        await seat.fail(2)
    with pytest.raises(IntegrityError):
        await seat.fail(2, twice=1)
    await seat.walk(3)
    await seat.settle()
    assert (seat.rows(), seat.checkpoint()) == ([1, 3], ("walking", "3", 3))


async def test_without_savepoints_an_item_that_raises_has_the_others_walked_again_singly(
    sit: Sit,
) -> None:
    seat = sit(every=100, savepoints=False)
    await seat.load()
    await seat.walk(1)
    with pytest.raises(TakenBack) as back:
        await seat.fail(2)
    assert back.value.again
    assert (await seat.load()).processed == 0
    await seat.walk(1)
    assert seat.rows() == [1]
    with pytest.raises(ValueError, match="mine"):
        await seat.fail(2)
    await seat.walk(3, 4)
    assert seat.rows() == [1, 3]
    await seat.settle()
    assert seat.rows() == [1, 3, 4]


async def test_what_was_not_settled_is_not_there(sit: Sit) -> None:
    seat = sit(every=100)
    await seat.load()
    await seat.walk(1, 2)
    assert not seat.seat.settled
    await seat.maybe(seat.seat.close())
    assert (seat.rows(), seat.checkpoint()) == ([], ("new", None, 0))
    assert not seat.seat.settled


async def test_run_whose_job_another_has_can_commit_nothing(sit: Sit) -> None:
    late = sit(every=2)
    await late.load()
    await late.walk(1, 2)
    new = late()
    assert (await new.load()).processed == 2
    with pytest.raises(TakenBack) as back:
        await late.walk(3)
    assert isinstance(back.value.error, Superseded)
    await new.walk(3, 4)
    assert (new.rows(), new.checkpoint()) == ([1, 2, 3, 4], ("walking", "4", 4))


async def test_run_that_loses_its_job_inside_a_transaction_commits_nothing_of_it(sit_on_postgres: Sit) -> None:
    late = sit_on_postgres(every=100)
    await late.load()
    await late.walk(1, 2)
    new = late()
    assert (await new.load()).processed == 0
    with pytest.raises(TakenBack) as back:
        await late.settle()
    assert isinstance(back.value.error, Superseded)
    await new.walk(1)
    await new.settle()
    assert (new.rows(), new.checkpoint()) == ([1], ("walking", "1", 1))


async def test_new_run_finds_a_transaction_in_its_way_on_sqlite_and_tries_again(sit_on_sqlite: Sit) -> None:
    late = sit_on_sqlite(every=100)
    await late.load()
    await late.walk(1)
    new = late()
    with pytest.raises(TakenBack, match="database is locked") as back:
        await new.load()
    assert back.value.again
    await late.settle()
    assert (await new.load()).processed == 1


async def test_connection_that_is_lost_takes_back_to_the_last_commit(sit_on_postgres: Sit) -> None:
    seat = sit_on_postgres(every=2)
    await seat.load()
    await seat.walk(1, 2)
    await seat.walk(3)
    with seat.others.begin() as connection:
        connection.execute(
            sa.text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state LIKE 'idle in%'")
        )
    with pytest.raises(TakenBack) as back:
        await seat.walk(4)
    assert back.value.again
    assert not seat.seat.settled
    assert (await seat.load()).processed == 2
    await seat.walk(3, 4)
    assert seat.rows() == [1, 2, 3, 4]


async def test_deadlock_takes_back_to_the_last_commit(sit_on_postgres: Sit) -> None:
    seat = sit_on_postgres(every=100)
    await seat.load()

    async def item() -> None:
        async with seat.item(1):
            statement = sa.text("DO $$ BEGIN RAISE EXCEPTION 'in the way' USING ERRCODE = '40P01'; END $$")
            await seat.maybe(seat.job.transaction.execute(statement))

    with pytest.raises(TakenBack) as back:
        await item()
    assert back.value.again


def nobody_idles(seat: Sitting) -> bool:
    """Is no transaction open in which nothing is asked for?"""
    with seat.others.connect() as connection:
        held = connection.scalar(sa.text("SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in%'"))
    return held is not None and int(held) == 0


async def test_stopped_worker_holds_its_locks_for_a_time_only(sit_on_postgres: Sit) -> None:
    seat = sit_on_postgres(every=100, idle_seconds=0.2)
    await seat.load()
    await seat.walk(1)
    await wait_until(lambda: nobody_idles(seat), 20)
    with pytest.raises(TakenBack) as back:
        await seat.walk(2)
    assert back.value.again


async def test_worker_that_is_stopped_while_it_takes_a_job_holds_it_for_a_time_only(
    sit_on_postgres: Sit, monkeypatch: pytest.MonkeyPatch
) -> None:
    seat = sit_on_postgres(idle_seconds=0.2)

    def stopped(_: Store, __: Any) -> None:
        wait_until_sync(lambda: nobody_idles(seat), 20)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "_refuse_autocommit", stopped)
        with pytest.raises(TakenBack) as back:
            await seat.load()
    assert back.value.again
    assert not (await seat().load()).began


async def test_table_may_lie_in_a_schema_of_its_own(sit_on_postgres: Sit) -> None:
    seat = sit_on_postgres(schema="jobs")
    with seat.others.begin() as connection:
        connection.execute(sa.text("DROP SCHEMA IF EXISTS jobs CASCADE"))
    with pytest.raises(ConfigurationError, match=r"the table jobs\.jobworker_checkpoints is missing"):
        await seat.load()
    with seat.others.begin() as connection:
        connection.execute(sa.text("CREATE SCHEMA jobs"))
        seat.checkpoints.metadata.create_all(connection)
    await seat.load()
    await seat.walk(1)
    await seat.settle()
    with seat.others.connect() as connection:
        assert connection.scalar(sa.text("SELECT processed FROM jobs.jobworker_checkpoints")) == 1


async def test_error_of_a_commit_is_told_of_the_item_that_has_it(sit: Sit) -> None:
    """A constraint that is looked at by the commit does not say whose row it was."""
    seat = sit(every=3)
    enforce_foreign_keys(seat)
    await seat.load()

    async def item(number: int, of: int | None = None) -> None:
        async with seat.item(number):
            await seat.insert(number, of)

    await item(1)
    await item(2, of=99)
    with pytest.raises(TakenBack) as back:
        await item(3)
    assert back.value.again
    assert (await seat.load()).processed == 0
    await item(1)
    assert seat.rows() == [1]
    with pytest.raises(IntegrityError):
        await item(2, of=99)
    async with seat.item(2):
        pass
    await item(3)
    assert (seat.rows(), seat.checkpoint()) == ([1, 3], ("walking", "3", 3))
    await item(4)
    assert seat.rows() == [1, 3]


def enforce_foreign_keys(seat: Sitting) -> None:
    if seat.others.dialect.name == "sqlite":
        engine = getattr(seat.engine, "sync_engine", seat.engine)
        sa.event.listen(engine, "connect", lambda opened, _: opened.execute("PRAGMA foreign_keys = ON").close())


@pytest.mark.parametrize("how", ["commit", "rollback", "close"])
async def test_job_that_ends_the_transaction_itself_is_told_and_fails(sit: Sit, how: str) -> None:
    seat = sit(every=100)
    await seat.load()
    await seat.walk(1)
    with pytest.raises(TakenBack) as back:
        async with seat.item(2):
            await seat.maybe(getattr(seat.job.transaction, how)())
    assert not back.value.again
    assert "each_iteration ended self.transaction" in str(back.value.error)
    assert isinstance(back.value.error, ConfigurationError)


async def test_callbacks_are_one_step_and_the_last_ones_end_the_job(sit: Sit) -> None:
    seat = sit()
    await seat.load()
    async with seat.callbacks(over=False):
        await seat.insert(100)
    assert (seat.rows(), seat.checkpoint()) == ([100], ("walking", None, 0))
    await seat.walk(1)
    await seat.settle()

    async def complete(*, fails: bool) -> None:
        async with seat.callbacks(over=True):
            await seat.insert(101)
            if fails:
                raise ValueError("not yet")

    with pytest.raises(ValueError, match="not yet"):
        await complete(fails=True)
    assert not (await seat.load()).over
    await complete(fails=False)
    assert (seat.rows(), seat.checkpoint()) == ([1, 100, 101], ("complete", "1", 1))
    assert (await seat().load()).over


async def test_job_that_began_before_it_had_checkpoints_goes_on_where_redis_says(sit: Sit) -> None:
    seat = sit()
    stored = await seat.load(Place(IterationState(cursor=b"7", executions=2), processed=7))
    assert (stored.cursor, stored.processed, stored.began) == (b"7", 7, True)
    # And from there on only the database is asked.
    assert (await seat().load(Place(IterationState(cursor=b"9", executions=2), processed=9))).cursor == b"7"


async def test_what_redis_was_not_told_is_there_after_a_crash(sit: Sit) -> None:
    seat = sit(every=1)
    await seat.load()
    seat.job.progress.total = 9
    seat.job.progress.error("no name", "no age")
    seat.job.progress.done("user", 7, 8)
    seat.job.progress.done("name", "x")
    await seat.walk(1)
    progress = (await seat().load()).progress
    assert progress is not None
    assert (progress.processed, progress.failed, progress.total) == (1, 1, 9)
    assert progress.errors == ((1, ("no name", "no age")),)
    assert progress == replace(seat.job.progress.snapshot(), processed=1)


async def test_rows_of_jobs_that_ended_long_ago_go(sit: Sit) -> None:
    seat = sit()
    await seat.load()
    now = datetime.now(UTC)
    (table,) = seat.checkpoints.metadata.tables.values()
    ages = {"yesterday": ("complete", 2), "today": ("complete", 0.5), "dead": ("walking", 190), "lost": ("new", 201)}
    with seat.others.begin() as connection:
        for jid, (state, days) in ages.items():
            connection.execute(
                sa.insert(table).values(
                    jid=jid, job_class="Job", token="", state=state, processed=0, updated_at=now - timedelta(days=days)
                )
            )
    async with seat.callbacks(over=True):
        pass
    with seat.others.connect() as connection:
        assert set(connection.scalars(sa.select(table.c.jid))) == {"1f", "today", "dead"}


async def test_missing_table_is_told_with_what_to_do(sit: Sit) -> None:
    seat = sit()
    with seat.others.begin() as connection:
        connection.execute(sa.text("DROP TABLE jobworker_checkpoints"))
    with pytest.raises(ConfigurationError, match=r"jobworker_checkpoints is missing .* create_table\(\)"):
        await seat.load()
    if "async" in seat.kind:
        await seat.checkpoints.create_table_async()
        with pytest.raises(ConfigurationError, match="await create_table_async"):
            seat.checkpoints.create_table()
    else:
        seat.checkpoints.create_table()
        with pytest.raises(ConfigurationError, match=r"call create_table\(\)"):
            await seat.checkpoints.create_table_async()
    assert (await seat.load()).processed == 0


async def test_engine_that_commits_each_statement_is_refused(empty_postgres: str) -> None:
    engine = sa.create_engine(empty_postgres, isolation_level="AUTOCOMMIT")
    checkpoints = SqlCheckpoints(engine)
    checkpoints.create_table()
    token = CURRENT.set(Context("1f", "Job", "default", 1, Interruption()))
    seat: Any = checkpoints.seat(Job())
    with pytest.raises(ConfigurationError, match="commits each statement by itself"):
        seat.load(Place())
    CURRENT.reset(token)
    engine.dispose()


def test_what_cannot_keep_the_promise_is_refused(tmp_path: Path) -> None:
    in_memory = sa.create_engine("sqlite://")
    with pytest.raises(ConfigurationError, match="give SQLite a file"):
        SqlCheckpoints(in_memory)
    in_memory.dispose()
    with pytest.raises(ConfigurationError, match="takes an Engine"):
        SqlCheckpoints("postgresql://")  # type: ignore[arg-type]  # on purpose
    with pytest.raises(ConfigurationError, match="no engine of its own"):
        SqlCheckpoints(sessionmaker())
    engine = sa.create_engine(sqlite_url(tmp_path))
    with pytest.raises(ConfigurationError, match="every must be at least 1"):
        SqlCheckpoints(engine, every=0)
    other = sa.create_mock_engine("mysql://", lambda *_: None)
    with pytest.raises(ConfigurationError, match="takes an Engine"):
        SqlCheckpoints(other)  # type: ignore[arg-type]  # on purpose
    engine.dispose()
