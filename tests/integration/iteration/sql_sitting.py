"""A seat of either kind behind one face, and what others see of its work: what the tests of seats share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker

from jobworker.iteration.keeping import Place
from jobworker.iteration.progress import JobProgress
from jobworker.iteration.store import Stored
from jobworker.iteration.transactions.checkpoints import SqlCheckpoints
from jobworker.jobs.context import CURRENT, Context, Interruption
from tests.integration.iteration.conftest import hasty, of_async

KINDS = ["connection", "session", "async connection", "async session"]


class Base(DeclarativeBase):
    """The tables of the application."""


class Row(Base):
    """An effect: inserted twice it is an error."""

    __tablename__ = "rows"
    id: Mapped[int] = mapped_column(primary_key=True)
    of: Mapped[int | None] = mapped_column(sa.ForeignKey("rows.id", deferrable=True, initially="DEFERRED"))


class Job:
    """As much of a job as a seat looks at."""

    transaction: Any = None

    def __init__(self) -> None:
        self.progress = JobProgress()


class Sitting:
    """A seat of either kind behind one face, and what others see of its work."""

    def __init__(self, kind: str, url: str, **options: Any) -> None:
        self.job = Job()
        self.kind = kind
        self._is_async, self._by_session = "async" in kind, "session" in kind
        self.engine: Any = create_async_engine(of_async(url)) if self._is_async else sa.create_engine(url)
        hasty(self.engine)
        maker: Any = async_sessionmaker if self._is_async else sessionmaker
        self.bind = maker(self.engine) if self._by_session else self.engine
        self.options = {"every": 3, "seconds": 3600.0, **options}
        self.checkpoints = SqlCheckpoints(self.bind, **self.options)
        self.seat: Any = self.checkpoints.seat(self.job)
        self.others = hasty(sa.create_engine(url))

    def __call__(self) -> Sitting:
        """Another run of the same job."""
        other: Sitting = object.__new__(Sitting)
        other.__dict__.update(self.__dict__)
        other.job = Job()
        other.seat = self.checkpoints.seat(other.job)
        return other

    async def close(self) -> None:
        await self.maybe(self.seat.close())
        await self.maybe(self.engine.dispose())
        self.others.dispose()

    async def maybe(self, answer: Any) -> Any:
        return await answer if self._is_async else answer

    async def load(self, place: Place | None = None) -> Stored:
        stored: Stored = await self.maybe(self.seat.load(place or Place()))
        return stored

    async def settle(self) -> None:
        await self.maybe(self.seat.settle())

    def item(self, number: int) -> AbstractAsyncContextManager[None]:
        return self._either(self.seat.item(number, number))

    def callbacks(self, *, over: bool) -> AbstractAsyncContextManager[None]:
        return self._either(self.seat.callbacks(over=over))

    @asynccontextmanager
    async def _either(self, surrounding: Any) -> AsyncIterator[None]:
        if self._is_async:
            async with surrounding:
                yield
        else:
            with surrounding:
                yield

    async def insert(self, number: int, of: int | None = None) -> None:
        if self._by_session:
            self.job.transaction.add(Row(id=number, of=of))
        else:
            await self.maybe(self.job.transaction.execute(sa.insert(Row).values(id=number, of=of)))

    async def walk(self, *numbers: int) -> None:
        for number in numbers:
            async with self.item(number):
                await self.insert(number)

    async def fail(self, number: int, twice: int | None = None) -> None:
        """An item that raises behind its effect, or whose effect is one that is there already."""
        async with self.item(number):
            await self.insert(number)
            if twice is not None:
                await self.insert(twice)
                return
            raise ValueError("mine")

    def rows(self) -> list[int]:
        with self.others.connect() as connection:
            return list(connection.scalars(sa.select(Row.id).order_by(Row.id)))

    def checkpoint(self) -> tuple[str, str | None, int]:
        with self.others.connect() as connection:
            found = connection.execute(sa.text("SELECT state, cursor, processed FROM jobworker_checkpoints")).one()
        state, cursor, processed = found
        return state, cursor, processed


Sit = Callable[..., Sitting]


@asynccontextmanager
async def sitting(kind: str, url: str) -> AsyncIterator[Sit]:
    """Makes seats on a database with tables."""
    made: list[Sitting] = []

    def make(**options: Any) -> Sitting:
        made.append(Sitting(kind, url, **options))
        return made[-1]

    engine = hasty(sa.create_engine(url))
    Base.metadata.create_all(engine)
    SqlCheckpoints(engine).create_table()
    engine.dispose()
    token = CURRENT.set(Context("1f", "Job", "default", 1, Interruption()))
    try:
        yield make
    finally:
        CURRENT.reset(token)
        for each in made:
            await each.close()
