"""What an application names: where the checkpoints of a job lie, and how often they are committed."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

from jobworker.errors import ConfigurationError

if TYPE_CHECKING:
    from sqlalchemy import Engine, MetaData
    from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker
    from sqlalchemy.orm import sessionmaker

    from jobworker.iteration.transactions.seats import AsyncSeat, Seat
    from jobworker.iteration.transactions.store import Store

    Bind = Engine | sessionmaker[Any] | AsyncEngine | async_sessionmaker[Any]

_DIALECTS = ("postgresql", "sqlite")


class SqlCheckpoints:
    """Commits the effects of an iterating job and its cursor together, so that each item's effects are there once.

    Given to a job as its class attribute ``checkpoints``. While an item runs, ``self.transaction`` is a connection, or
    for a sessionmaker a session, in a transaction that the worker commits: after ``every`` items, after ``seconds``,
    and at each stop. An item that raises takes only its own effects with it. Plain engines and sessionmakers are for
    plain jobs, async ones for async jobs; PostgreSQL and SQLite.

    Each item has a savepoint, which costs two crossings to the database. Without ``savepoints`` an item that raises
    takes back all since the last commit, and those items run a second time, one by one: for jobs that hardly ever raise
    and do nothing outside of the transaction.

    ``schema`` is where the table lies, if not where the connection looks first. PostgreSQL ends a transaction in which
    nothing was asked for ``idle_seconds``: no stopped worker holds locks for longer. ``patience_seconds`` is how long a
    database that is away, or in whose way others are, is tried again before the job fails.

    Raises:
        ConfigurationError: none of these, a database that is neither, or one in memory, or a number below its least.
    """

    def __init__(
        self,
        bind: Bind,
        *,
        every: int = 100,
        seconds: float = 1.0,
        savepoints: bool = True,
        schema: str | None = None,
        idle_seconds: float = 60.0,
        patience_seconds: float = 60.0,
    ) -> None:
        if every < 1 or seconds <= 0 or idle_seconds <= 0 or patience_seconds < 0:
            raise ConfigurationError(
                "SqlCheckpoints: every must be at least 1, seconds and idle_seconds above 0, patience_seconds not "
                f"negative, and not {every}, {seconds}, {idle_seconds}, {patience_seconds}"
            )
        self.bind = bind
        self.every = every
        self.seconds = seconds
        self.savepoints = savepoints
        self.patience_seconds = patience_seconds
        self.is_async, self.makes_sessions = _kind_of(bind)
        _refuse_unfit(bind)
        self.metadata, self.store = _store(schema, idle_seconds)

    metadata: MetaData
    """The table, for migration tools: with Alembic ``target_metadata = [own, SqlCheckpoints(…).metadata]``."""

    store: Store

    def seat(self, job: Any) -> Seat | AsyncSeat:
        """Where one run of a job sits: its own way to the database."""
        from jobworker.iteration.transactions import seats  # noqa: PLC0415  # imports SQLAlchemy

        return seats.seat(self, job)

    def forget(self, jid: str) -> Awaitable[None] | None:
        """Forget where a job stands; it begins anew if it runs again. With an async engine to be awaited.

        Raises:
            ConfigurationError: the table is missing.
        """
        if self.is_async:
            return self._forget_async(jid)
        with _engine(self.bind).begin() as connection:
            self.store.forget(connection, jid)
        return None

    async def _forget_async(self, jid: str) -> None:
        async with _engine(self.bind).begin() as connection:
            await connection.run_sync(lambda opened: self.store.forget(opened, jid))

    def create_table(self) -> None:
        """Create the table where it is missing. For plain engines and sessionmakers.

        Raises:
            ConfigurationError: the engine is async.
        """
        if self.is_async:
            raise ConfigurationError("SqlCheckpoints: this engine is async; await create_table_async()")
        with _engine(self.bind).begin() as connection:
            self.metadata.create_all(connection)

    async def create_table_async(self) -> None:
        """Create the table where it is missing. For async engines and sessionmakers.

        Raises:
            ConfigurationError: the engine is plain.
        """
        if not self.is_async:
            raise ConfigurationError("SqlCheckpoints: this engine is plain; call create_table()")
        async with _engine(self.bind).begin() as connection:
            await connection.run_sync(self.metadata.create_all)


def _kind_of(bind: Any) -> tuple[bool, bool]:
    try:
        from sqlalchemy import Engine  # noqa: PLC0415  # an extra
        from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker  # noqa: PLC0415  # the same
        from sqlalchemy.orm import sessionmaker  # noqa: PLC0415  # the same
    except ModuleNotFoundError as error:
        raise ConfigurationError(f"SqlCheckpoints needs {error.name}: pip install 'jobworker[sql]'") from error
    match bind:
        case Engine():
            return False, False
        case sessionmaker():
            return False, True
        case AsyncEngine():
            return True, False
        case async_sessionmaker():
            return True, True
        case _:
            raise ConfigurationError(
                "SqlCheckpoints takes an Engine, a sessionmaker, an AsyncEngine or an async_sessionmaker, not "
                f"{bind!r:.80}"
            )


def _engine(bind: Any) -> Any:
    engine = bind.kw.get("bind") if hasattr(bind, "kw") else bind
    if not hasattr(engine, "connect") or not hasattr(engine, "begin") or not hasattr(engine, "dialect"):
        raise ConfigurationError(
            "SqlCheckpoints: the sessionmaker has no engine of its own; make it with sessionmaker(engine)"
        )
    return engine


def _refuse_unfit(bind: Any) -> None:
    from sqlalchemy.pool import SingletonThreadPool, StaticPool  # noqa: PLC0415  # an extra

    engine = _engine(bind)
    if engine.dialect.name not in _DIALECTS:
        raise ConfigurationError(
            f"SqlCheckpoints keeps checkpoints in PostgreSQL and SQLite; with {engine.dialect.name} its promise was "
            "never tested. Without it, let each_iteration bear being done twice: docs/how-to/exactly-once.md"
        )
    if isinstance(engine.pool, StaticPool | SingletonThreadPool):
        raise ConfigurationError(
            "SqlCheckpoints: this engine has one connection for all, so whoever else uses it would commit the job's "
            "transaction; give SQLite a file, also in tests, and leave its pool as it is"
        )


def _store(schema: str | None, idle_seconds: float) -> tuple[Any, Any]:
    from sqlalchemy import MetaData  # noqa: PLC0415  # an extra

    from jobworker.iteration.transactions.store import Store  # noqa: PLC0415  # imports SQLAlchemy
    from jobworker.iteration.transactions.table import checkpoint_table  # noqa: PLC0415  # the same

    metadata = MetaData()
    return metadata, Store(checkpoint_table(metadata, schema), idle_seconds)
