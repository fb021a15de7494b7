"""A database and a job that writes to it in its own transactions, of each kind: what the tests of both share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker

from jobworker import IteratingJob, SqlCheckpoints, list_items
from jobworker.iteration.run import End, Kept, Run
from jobworker.jobs.context import CURRENT, Context, Interruption
from jobworker.protocol.records import Checkpoint
from jobworker.testing import MemoryKeeper, Places
from tests.integration.iteration.conftest import hasty, of_async

JID = "0f"


class Base(DeclarativeBase):
    """The tables of the application."""


class Effect(Base):
    """What happened; the same may stand there twice."""

    __tablename__ = "effects"
    id: Mapped[int] = mapped_column(primary_key=True)
    what: Mapped[str]


class NotingKeeper(MemoryKeeper):
    """Notes what is written."""

    def __init__(self, places: Places, jid: str) -> None:
        super().__init__(places, jid)
        self.written: list[Checkpoint] = []

    async def checkpoint(self, state: Checkpoint, *, wait: bool) -> Kept:
        self.written.append(state)
        return await super().checkpoint(state, wait=wait)


class Shop:
    """A database and a job that writes to it, of one of four kinds."""

    def __init__(self, kind: str, url: str, **options: Any) -> None:
        self.is_async, self.by_session = "async" in kind, "session" in kind
        self.engine: Any = create_async_engine(of_async(url)) if self.is_async else sa.create_engine(url)
        hasty(self.engine)
        maker: Any = async_sessionmaker if self.is_async else sessionmaker
        bind = maker(self.engine) if self.by_session else self.engine
        self.checkpoints = SqlCheckpoints(bind, **options)
        self.others = hasty(sa.create_engine(url))
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
        self.keeper, self.interruption = NotingKeeper(self.places, JID), Interruption()
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


def all_of(number: int, *, without: tuple[int, ...] = ()) -> list[str]:
    """The effects of an undisturbed job."""
    return ["start", *(f"item {item}" for item in range(number) if item not in without), "complete"]


@asynccontextmanager
async def open_shop(kind: str, url: str, **options: Any) -> AsyncIterator[Shop]:
    """A shop whose job runs here."""
    shop = Shop(kind, url, **options)
    token = CURRENT.set(Context(JID, "Walks", "default", 1, Interruption()))
    try:
        yield shop
    finally:
        CURRENT.reset(token)
        await shop.close()
