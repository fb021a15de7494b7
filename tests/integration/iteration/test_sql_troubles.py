"""What becomes of a job's transactions when the database, another run or the end of its time comes in between."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import sqlalchemy as sa

from jobworker import NotHeld, list_items
from jobworker.iteration.run import End
from jobworker.iteration.store import TakenBack
from jobworker.iteration.transactions.work import Work
from jobworker.testing import Places
from tests.integration.iteration.sql_shop import JID, Shop, all_of, open_shop
from tests.integration.iteration.sql_sitting import KINDS
from tests.postgres_server import PostgresServer
from tests.waiting import wait_until, wait_until_sync


@pytest.fixture(params=KINDS)
async def shop(request: pytest.FixtureRequest, database_url: str) -> AsyncIterator[Shop]:
    async with open_shop(request.param, database_url, every=2) as shop:
        yield shop


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
    async with open_shop(request.param, empty_postgres, every=2) as shop:
        yield shop


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


@pytest.mark.parametrize("kind", ["connection", "async session"])
async def test_database_that_is_killed_and_started_again_costs_the_job_nothing(kind: str) -> None:
    with PostgresServer() as server:
        async with open_shop(kind, server.url, every=2) as shop:

            def restart() -> Any:
                server.kill()
                shop.others.dispose()
                threading.Thread(target=server.start).start()

            shop.at = {3: restart}
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


@pytest.mark.parametrize("answered", [False, True])
@pytest.mark.parametrize("number", [1, 3, 5])
async def test_commit_of_which_nobody_knows_whether_it_was_one_is_looked_up(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, number: int, *, answered: bool
) -> None:
    """on_start, three times two items, the last callbacks: lost in front of a commit, or behind it."""
    commits = 0
    commit = Work.commit

    def lost(self: Work, database: Any, state: Any = "walking") -> None:
        nonlocal commits
        commits += 1
        if commits != number or answered:
            commit(self, database, state)
        if commits == number:
            raise TakenBack(ConnectionError("gone"))

    monkeypatch.setattr(Work, "commit", lost)
    assert await shop.run(6) is End.COMPLETE
    assert commits > number or answered
    assert shop.effects() == all_of(6)
    assert shop.state() == ("complete", "6")


async def test_redis_is_told_nothing_that_is_not_committed(shop: Shop) -> None:
    """Ids that are noted as done would be skipped by the next run, though their effects are gone."""
    before = 0

    def told() -> bool:
        return len(shop.keeper.written) >= before + 2

    def wait() -> Any:
        nonlocal before
        assert shop.last is not None
        shop.last.progress.done("user", 3)
        before = len(shop.keeper.written)
        return wait_until(told) if shop.is_async else wait_until_sync(told)

    shop.checkpoints.every = 2
    shop.at = {3: wait}
    assert await shop.run(5, checkpoint_seconds=0.05) is End.COMPLETE
    beside = shop.keeper.written[before : before + 2]
    assert {state.cursor for state in beside} <= {b"null", b"2", b"3"}
    assert [state.progress for state in beside] == [None, None]
    assert shop.places.of(JID).done == {"user": 1}


async def test_item_that_is_cut_leaves_nothing_and_comes_again(database_url: str) -> None:
    reached = asyncio.Event()

    async def wait() -> None:
        reached.set()
        await asyncio.sleep(3600)

    async with open_shop("async session", database_url, every=100) as shop:
        shop.at = {3: wait}
        task = asyncio.create_task(shop.run())
        await asyncio.wait_for(reached.wait(), 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert shop.effects() == ["start"]
        assert await shop.run() is End.COMPLETE
        assert shop.effects() == all_of(5)
