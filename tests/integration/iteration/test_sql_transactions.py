"""Iterating jobs with checkpoints in their own transactions: each item's effects are there once, whatever happens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker

from jobworker import ConfigurationError, IteratingJob, NotHeld, SqlCheckpoints, list_items
from jobworker.iteration.run import End, Run
from jobworker.jobs.context import CURRENT, Context, Interruption
from jobworker.protocol.records import Checkpoint
from jobworker.testing import MemoryKeeper, Places, simulate_drain
from tests.integration.iteration.conftest import of_async
from tests.integration.iteration.test_sql_seats import KINDS

JID = "0f"


class Base(DeclarativeBase):
    """The tables of the application."""


class Effect(Base):
    """What happened; the same may stand there twice."""

    __tablename__ = "effects"
    id: Mapped[int] = mapped_column(primary_key=True)
    what: Mapped[str]


class Shop:
    """A database and a job that writes to it, of one of four kinds."""

    def __init__(self, kind: str, url: str, **options: Any) -> None:
        self.is_async, self.by_session = "async" in kind, "session" in kind
        self.engine: Any = create_async_engine(of_async(url)) if self.is_async else sa.create_engine(url)
        maker: Any = async_sessionmaker if self.is_async else sessionmaker
        bind = maker(self.engine) if self.by_session else self.engine
        self.checkpoints = SqlCheckpoints(bind, **options)
        self.others = sa.create_engine(url)
        Base.metadata.create_all(self.others)
        self.checkpoints.metadata.create_all(self.others)
        self.job = _async_job(self) if self.is_async else _plain_job(self)
        self.raising: set[int] = set()
        self.places = Places()
        self.last: IteratingJob | None = None
        self.at: dict[int, Callable[[], Any]] = {}

    async def close(self) -> None:
        if self.is_async:
            await self.engine.dispose()
        else:
            self.engine.dispose()
        self.others.dispose()

    def reset(self) -> None:
        with self.others.begin() as connection:
            connection.execute(sa.delete(Effect))

    def effects(self) -> list[str]:
        with self.others.connect() as connection:
            return list(connection.scalars(sa.select(Effect.what).order_by(Effect.id)))

    def happen(self, item: int) -> Any:
        """What the test wants to happen in an item, behind its effect."""
        if item in self.raising:
            raise ValueError(f"item {item}")
        return self.at.pop(item, lambda: None)()

    def interrupt(self) -> None:
        self.interruption.requested = True

    def state(self) -> tuple[str, str | None]:
        with self.others.connect() as connection:
            state, cursor = connection.execute(sa.text("SELECT state, cursor FROM jobworker_checkpoints")).one()
        return state, cursor

    async def run(self, number: int = 5, **options: Any) -> End:
        """One run of the job, as a worker makes it."""
        job = type("Walks", (self.job,), options)
        self.last = job()
        self.keeper, self.interruption = MemoryKeeper(self.places, JID), Interruption()
        return await Run(self.last, [number], self.keeper, self.interruption, asyncio.to_thread)()

    def write(self, transaction: Any, what: str) -> Any:
        if self.by_session:
            return transaction.add(Effect(what=what))
        return transaction.execute(sa.insert(Effect).values(what=what))


def _plain_job(shop: Shop) -> type[IteratingJob]:
    class Walks(IteratingJob):
        checkpoints = shop.checkpoints

        def build_enumerator(self, number: int, *, cursor: int | None) -> list_items[int]:
            return list_items(range(number), cursor)

        def each_iteration(self, item: int, number: int) -> None:  # noqa: ARG002  # each item gets the arguments
            shop.write(self.transaction, f"item {item}")
            shop.happen(item)

        def on_start(self) -> None:
            shop.write(self.transaction, "start")

        def on_complete(self) -> None:
            shop.write(self.transaction, "complete")

        def on_cancel(self) -> None:
            shop.write(self.transaction, "cancel")

    return Walks


def _async_job(shop: Shop) -> type[IteratingJob]:
    async def write(transaction: Any, what: str) -> None:
        answer = shop.write(transaction, what)
        if answer is not None:
            await answer

    class Walks(IteratingJob):
        checkpoints = shop.checkpoints

        def build_enumerator(self, number: int, *, cursor: int | None) -> list_items[int]:
            return list_items(range(number), cursor)

        async def each_iteration(self, item: int, number: int) -> None:  # noqa: ARG002  # each item gets the arguments
            await write(self.transaction, f"item {item}")
            answer = shop.happen(item)
            if answer is not None:
                await answer

        async def on_start(self) -> None:
            await write(self.transaction, "start")

        async def on_complete(self) -> None:
            await write(self.transaction, "complete")

        async def on_cancel(self) -> None:
            await write(self.transaction, "cancel")

    return Walks


@pytest.fixture(params=KINDS)
async def shop(request: pytest.FixtureRequest, database_url: str) -> AsyncIterator[Shop]:
    shop = Shop(request.param, database_url, every=2)
    token = CURRENT.set(Context(JID, "Walks", "default", 1, Interruption()))
    yield shop
    CURRENT.reset(token)
    await shop.close()


async def test_interrupted_and_killed_anywhere_all_effects_are_there_once_and_in_order(shop: Shop) -> None:
    simulated = await simulate_drain(shop.job, 4, reset=shop.reset, effects=shop.effects, crash=True, most=40)
    assert simulated.crashes > 5
    assert shop.effects() == all_of(4)


def all_of(number: int, *, without: tuple[int, ...] = ()) -> list[str]:
    """The effects of an undisturbed job."""
    return ["start", *(f"item {item}" for item in range(number) if item not in without), "complete"]


@pytest.mark.parametrize("savepoints", [True, False])
async def test_item_whose_error_is_recorded_leaves_no_effect(shop: Shop, *, savepoints: bool) -> None:
    shop.checkpoints.savepoints = savepoints
    shop.raising = {1, 4}
    assert await shop.run(on_error="record") is End.COMPLETE
    assert shop.effects() == all_of(5, without=(1, 4))
    place = shop.places.of(JID)
    assert (place.processed, place.failed) == (5, 2)
    assert place.errors == {2: ("ValueError: item 1",), 5: ("ValueError: item 4",)}


async def test_item_that_fails_the_job_is_where_the_next_run_begins(shop: Shop) -> None:
    shop.checkpoints.every = 100
    shop.raising = {3}
    with pytest.raises(ValueError, match="item 3"):
        await shop.run()
    assert shop.effects() == ["start", "item 0", "item 1", "item 2"]
    assert shop.state() == ("walking", "3")
    shop.raising = set()
    assert await shop.run() is End.COMPLETE
    assert shop.effects() == all_of(5)


async def test_item_that_is_tried_again_has_its_effect_once(shop: Shop) -> None:
    def fail() -> None:
        raise ValueError

    shop.at = {2: fail}
    assert await shop.run(item_retries=1, item_retry_seconds=0.0) is End.COMPLETE
    assert shop.effects() == all_of(5)


async def test_database_wins_over_redis(shop: Shop) -> None:
    shop.raising = {3}
    with pytest.raises(ValueError, match="item 3"):
        await shop.run()
    shop.raising = set()
    for stale in (b"1", b"5"):
        await MemoryKeeper(shop.places, JID).checkpoint(Checkpoint(stale, 1, 0.0), wait=True)
        shop.at = {3: shop.interrupt}
        assert await shop.run(number=7) is (End.INTERRUPTED if stale == b"1" else End.COMPLETE)
    assert shop.effects() == all_of(7)


async def test_complete_job_that_runs_again_does_nothing(shop: Shop) -> None:
    assert await shop.run() is End.COMPLETE
    assert shop.state() == ("complete", "5")
    shop.places = Places()  # Redis lost what it knew
    assert await shop.run() is End.COMPLETE
    assert shop.effects() == all_of(5)


async def test_cancelled_job_commits_what_was_done_and_its_last_words(shop: Shop) -> None:
    shop.at = {2: lambda: shop.places.cancel(JID)}
    assert await shop.run(number=50, checkpoint_seconds=0.0) is End.CANCELLED
    assert shop.effects() == ["start", "item 0", "item 1", "item 2", "cancel", "complete"]
    assert shop.state()[0] == "complete"


async def test_run_whose_place_another_took_goes_on_from_the_last_commit_while_redis_says_it_may(shop: Shop) -> None:
    async def steal() -> None:
        thief: Any = shop.checkpoints.seat(shop.job())
        await _maybe(thief.load(shop.places.of(JID)))

    # Behind a commit, so that the thief gets SQLite's lock.
    await _with_theft(shop, steal)
    assert await shop.run() is End.COMPLETE
    assert shop.effects() == all_of(5)


async def test_run_whose_job_is_anothers_stops_and_commits_nothing_more(shop: Shop) -> None:
    async def steal() -> None:
        thief: Any = shop.checkpoints.seat(shop.job())
        await _maybe(thief.load(shop.places.of(JID)))
        shop.keeper.disowned = True

    await _with_theft(shop, steal)
    with pytest.raises(NotHeld):
        await shop.run()
    assert shop.effects() == ["start", "item 0", "item 1"]
    assert shop.state() == ("walking", "2")


async def _with_theft(shop: Shop, steal: Callable[[], Any]) -> None:
    """Between the second item's commit and the third item."""

    class Stolen(list_items[int]):
        def __iter__(self) -> Any:
            for item, cursor in super().__iter__():
                if item == 2 and not shop.raising:
                    shop.raising = {-1}
                    asyncio.run_coroutine_threadsafe(steal(), loop).result(10) if not shop.is_async else None
                yield item, cursor

    loop = asyncio.get_running_loop()
    if not shop.is_async:
        shop.job.build_enumerator = lambda self, number, *, cursor: Stolen(range(number), cursor)  # noqa: ARG005  # as called
        return

    async def pairs(number: int, cursor: int | None) -> Any:
        for item, following in list_items(range(number), cursor):
            if item == 2 and not shop.raising:
                shop.raising = {-1}
                await steal()
            yield item, following

    shop.job.build_enumerator = lambda self, number, *, cursor: pairs(number, cursor)  # noqa: ARG005  # as called


async def _maybe(answer: Any) -> Any:
    return await answer if asyncio.iscoroutine(answer) else answer


@pytest.fixture(params=KINDS)
async def shop_on_postgres(request: pytest.FixtureRequest, empty_postgres: str) -> AsyncIterator[Shop]:
    shop = Shop(request.param, empty_postgres, every=2)
    token = CURRENT.set(Context(JID, "Walks", "default", 1, Interruption()))
    yield shop
    CURRENT.reset(token)
    await shop.close()


def end_connections(shop: Shop) -> None:
    with shop.others.begin() as connection:
        connection.execute(
            sa.text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state LIKE 'idle in%'")
        )


async def test_connection_that_is_lost_costs_the_job_nothing(shop_on_postgres: Shop) -> None:
    shop = shop_on_postgres
    shop.at = {item: lambda: end_connections(shop) for item in (1, 2, 4)}
    assert await shop.run(on_error="record") is End.COMPLETE
    assert shop.effects() == all_of(5)
    assert shop.places.of(JID).failed == 0


async def test_database_that_is_away_for_too_long_fails_the_job_at_the_last_commit(shop_on_postgres: Shop) -> None:
    shop = shop_on_postgres
    shop.checkpoints.patience_seconds = 0.0
    shop.checkpoints.every = 1

    def always() -> None:
        shop.at[3] = always
        end_connections(shop)

    shop.at = {3: always}
    with pytest.raises(sa.exc.OperationalError):
        await shop.run(on_error="record")
    assert shop.effects() == ["start", "item 0", "item 1", "item 2"]
    assert shop.places.of(JID).failed == 0
    shop.at = {}
    assert await shop.run() is End.COMPLETE
    assert shop.effects() == all_of(5)


async def test_job_that_waits_for_its_database_leaves_when_it_shall(shop_on_postgres: Shop) -> None:
    shop = shop_on_postgres
    shop.checkpoints.patience_seconds = 3600.0

    def always() -> None:
        shop.at[3] = always
        end_connections(shop)
        shop.interruption.requested = True

    shop.at = {3: always}
    assert await shop.run() is End.INTERRUPTED
    shop.at = {}
    assert await shop.run() is End.COMPLETE
    assert shop.effects() == all_of(5)


async def test_errors_of_rows_outlive_a_crash_in_front_of_the_word_to_redis(shop: Shop) -> None:
    shop.raising = {1}
    unwritten = Places()
    kept, shop.places = shop.places, unwritten
    shop.at = {4: lambda: setattr(shop.keeper, "disowned", True)}  # the process is as good as dead
    shop.checkpoints.every = 1
    with pytest.raises(NotHeld):
        await shop.run(on_error="record")
    shop.places = kept
    assert kept.of(JID).processed == 0
    shop.raising = set()
    assert await shop.run(on_error="record") is End.COMPLETE
    assert kept.of(JID).errors == {2: ("ValueError: item 1",)}
    assert (kept.of(JID).processed, kept.of(JID).failed) == (5, 1)
    assert shop.effects() == all_of(5, without=(1,))


async def test_item_that_is_cut_leaves_nothing_and_comes_again(database_url: str) -> None:
    shop = Shop("async session", database_url, every=100)
    token = CURRENT.set(Context(JID, "Walks", "default", 1, Interruption()))
    reached = asyncio.Event()

    async def wait() -> None:
        reached.set()
        await asyncio.sleep(3600)

    shop.at = {3: wait}
    task = asyncio.create_task(shop.run())
    await asyncio.wait_for(reached.wait(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert shop.effects() == ["start"]
    assert await shop.run() is End.COMPLETE
    assert shop.effects() == all_of(5)
    CURRENT.reset(token)
    await shop.close()


async def test_engine_and_job_have_to_be_of_the_same_kind(database_url: str) -> None:
    shop = Shop("connection", database_url)

    async def each_iteration(self: Any, item: int) -> None: ...

    with pytest.raises(ConfigurationError, match="engine of its checkpoints is plain, but each_iteration is async"):
        type("Mixed", (IteratingJob,), {"checkpoints": shop.checkpoints, "each_iteration": each_iteration})
    await shop.close()
