"""Where a run sits while it walks: it opens a transaction when an item needs one, and closes it at each commit.

Between two transactions no connection is held, so a walk that waits for its next item keeps nothing from a pool.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from jobworker.iteration.aborting import Aborted
from jobworker.iteration.keeping import Place
from jobworker.iteration.store import Stored, TakenBack
from jobworker.iteration.transactions.checkpoints import SqlCheckpoints
from jobworker.iteration.transactions.faults import passes
from jobworker.iteration.transactions.store import Database
from jobworker.iteration.transactions.work import Work
from jobworker.jobs.context import context

log = logging.getLogger("jobworker.jobs")

T = TypeVar("T")
AsyncDatabase = AsyncConnection | AsyncSession

_DROP_SECONDS = 5.0


def seat(checkpoints: SqlCheckpoints, job: Any) -> Seat | AsyncSeat:
    """Of the kind of the engine."""
    return AsyncSeat(checkpoints, job) if checkpoints.is_async else Seat(checkpoints, job)


class Seat:
    """Of a run of a plain job. All calls come from one thread at a time."""

    def __init__(self, checkpoints: SqlCheckpoints, job: Any) -> None:
        bind: Any = checkpoints.bind
        self._opens: Callable[[], Database] = bind if checkpoints.makes_sessions else bind.connect
        self._job = job
        self._checkpoints = checkpoints
        self._work = Work(checkpoints, job)
        self._database: Database | None = None

    @property
    def settled(self) -> bool:
        """Is all that was done in this run committed?"""
        return self._work.settled

    @property
    def patience_seconds(self) -> float:
        """How long a database that is away is tried again."""
        return self._checkpoints.patience_seconds

    def load(self, place: Place) -> Stored:
        """Take the job from whoever had it, and tell where it stands.

        Raises:
            TakenBack: the database is away, or busy.
            ConfigurationError: the table is missing, or there are no transactions.
        """
        self._drop()
        jid, database = context().jid, self._open()
        stored = self._do(database, lambda opened: self._work.claim(opened, jid, place))
        self._close()
        return stored

    @contextmanager
    def item(self, cursor: Any, processed: int) -> Iterator[None]:
        """Surrounds an item: see `jobworker.iteration.store.Store`."""
        work, database = self._work, self._begun()
        savepoint = self._do(database, work.enter)
        try:
            yield
        except (Exception, Aborted) as error:
            raised = error
            if self._do(database, lambda opened: work.undo(opened, savepoint, raised)):
                self._close()
            raise
        except BaseException:
            self._drop()
            raise
        if self._do(database, lambda opened: work.leave(opened, savepoint, cursor, processed)):
            self._close()

    def settle(self) -> None:
        """Commit what was done."""
        if self._database is not None:
            self._do(self._database, self._work.settle)
            self._close()

    @contextmanager
    def callbacks(self, *, over: bool) -> Iterator[None]:
        """A transaction for callbacks of the job; behind its last ones the job is complete."""
        database = self._begun()
        try:
            yield
        except Exception as error:
            self._drop()
            if passes(error):
                raise TakenBack(error) from error
            raise
        except BaseException:
            self._drop()
            raise
        self._do(database, lambda opened: self._work.commit(opened, "complete" if over else "walking"))
        self._close()
        if over:
            self._sweep()

    def _sweep(self) -> None:
        """Delete rows that nobody needs any more; where that fails, the next job does it."""
        try:
            self._do(self._begun(), self._work.sweep)
        except (SQLAlchemyError, TakenBack) as error:
            log.warning("old checkpoints could not be deleted: %s", error)
            self._drop()
        else:
            self._close()

    def close(self) -> None:
        """Undo what was not committed."""
        self._drop()

    def _begun(self) -> Database:
        if self._database is not None:
            return self._database
        database = self._open()
        self._do(database, self._work.begin)
        return database

    def _open(self) -> Database:
        try:
            database = self._opens()
        except SQLAlchemyError as error:
            if passes(error):
                raise TakenBack(error) from error
            raise
        self._database = self._job.transaction = database
        return database

    def _do(self, database: Database, step: Callable[[Database], T]) -> T:
        try:
            return step(database)
        except BaseException as error:
            if isinstance(error, TakenBack) or not self._work.intact(database):
                self._drop()
            raise

    def _close(self) -> None:
        database, self._database = self._database, None
        self._job.transaction = None
        if database is not None:
            database.close()

    def _drop(self) -> None:
        database, self._database = self._database, None
        self._job.transaction = None
        if database is None:
            return
        try:
            # Not back to the pool: SQLite's transaction is still open after a commit that failed, and of a connection
            # in doubt nobody knows what it holds.
            database.invalidate()
            database.close()
        except SQLAlchemyError as error:
            log.warning("a connection could not be closed after an error: %s", error)


class AsyncSeat:
    """Of a run of an async job."""

    def __init__(self, checkpoints: SqlCheckpoints, job: Any) -> None:
        bind: Any = checkpoints.bind
        self._opens: Callable[[], AsyncDatabase] = bind if checkpoints.makes_sessions else bind.connect
        self._job = job
        self._checkpoints = checkpoints
        self._work = Work(checkpoints, job)
        self._database: AsyncDatabase | None = None

    @property
    def settled(self) -> bool:
        """Is all that was done in this run committed?"""
        return self._work.settled

    @property
    def patience_seconds(self) -> float:
        """How long a database that is away is tried again."""
        return self._checkpoints.patience_seconds

    async def load(self, place: Place) -> Stored:
        """See `Seat`."""
        await self._drop()
        jid, database = context().jid, await self._open()
        stored = await self._do(database, lambda opened: self._work.claim(opened, jid, place))
        await self._close()
        return stored

    @asynccontextmanager
    async def item(self, cursor: Any, processed: int) -> AsyncIterator[None]:
        """See `Seat`."""
        work, database = self._work, await self._begun()
        savepoint = await self._do(database, work.enter)
        try:
            yield
        except (Exception, Aborted) as error:
            raised = error
            if await self._do(database, lambda opened: work.undo(opened, savepoint, raised)):
                await self._close()
            raise
        except BaseException:
            await self._drop()
            raise
        if await self._do(database, lambda opened: work.leave(opened, savepoint, cursor, processed)):
            await self._close()

    async def settle(self) -> None:
        """See `Seat`."""
        if self._database is not None:
            await self._do(self._database, self._work.settle)
            await self._close()

    @asynccontextmanager
    async def callbacks(self, *, over: bool) -> AsyncIterator[None]:
        """See `Seat`."""
        database = await self._begun()
        try:
            yield
        except Exception as error:
            await self._drop()
            if passes(error):
                raise TakenBack(error) from error
            raise
        except BaseException:
            await self._drop()
            raise
        await self._do(database, lambda opened: self._work.commit(opened, "complete" if over else "walking"))
        await self._close()
        if over:
            await self._sweep()

    async def _sweep(self) -> None:
        """See `Seat`."""
        try:
            await self._do(await self._begun(), self._work.sweep)
        except (SQLAlchemyError, TakenBack) as error:
            log.warning("old checkpoints could not be deleted: %s", error)
            await self._drop()
        else:
            await self._close()

    async def close(self) -> None:
        """See `Seat`."""
        await self._drop()

    async def _begun(self) -> AsyncDatabase:
        if self._database is not None:
            return self._database
        database = await self._open()
        await self._do(database, self._work.begin)
        return database

    async def _open(self) -> AsyncDatabase:
        try:
            opened = self._opens()
            database = opened if isinstance(opened, AsyncSession) else await opened.start()
        except SQLAlchemyError as error:
            if passes(error):
                raise TakenBack(error) from error
            raise
        self._database = self._job.transaction = database
        return database

    async def _do(self, database: AsyncDatabase, step: Callable[[Database], T]) -> T:
        try:
            return await database.run_sync(step)
        except Exception:
            if not await database.run_sync(self._work.intact):
                await self._drop()
            raise
        except BaseException:  # taken back, or cut
            await self._drop()
            raise

    async def _close(self) -> None:
        database, self._database = self._database, None
        self._job.transaction = None
        if database is not None:
            await database.close()

    async def _drop(self) -> None:
        database, self._database = self._database, None
        self._job.transaction = None
        if database is None:
            return
        try:
            async with asyncio.timeout(_DROP_SECONDS):
                # Not back to the pool: a statement may have been cut in the middle, and nobody knows its answer.
                await database.invalidate()
                await database.close()
        except (SQLAlchemyError, TimeoutError) as error:
            log.warning("a connection could not be closed after an error: %s", error)
