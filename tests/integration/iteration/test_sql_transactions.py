"""Iterating jobs with checkpoints in their own transactions: each item's effects are there once, whatever happens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker

from jobworker import IteratingJob, SqlCheckpoints, list_items
from jobworker.testing import simulate_drain
from tests.integration.iteration.conftest import of_async
from tests.integration.iteration.test_sql_seats import KINDS


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
            if item in shop.raising:
                raise ValueError(f"item {item}")

        def on_start(self) -> None:
            shop.write(self.transaction, "start")

        def on_complete(self) -> None:
            shop.write(self.transaction, "complete")

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
            if item in shop.raising:
                raise ValueError(f"item {item}")

        async def on_start(self) -> None:
            await write(self.transaction, "start")

        async def on_complete(self) -> None:
            await write(self.transaction, "complete")

    return Walks


@pytest.fixture(params=KINDS)
async def shop(request: pytest.FixtureRequest, database_url: str) -> AsyncIterator[Shop]:
    shop = Shop(request.param, database_url, every=2)
    yield shop
    await shop.close()


async def test_interrupted_and_killed_anywhere_all_effects_are_there_once_and_in_order(shop: Shop) -> None:
    simulated = await simulate_drain(shop.job, 5, reset=shop.reset, effects=shop.effects, crash=True)
    assert simulated.crashes > 5
    assert shop.effects() == ["start", *(f"item {item}" for item in range(5)), "complete"]
