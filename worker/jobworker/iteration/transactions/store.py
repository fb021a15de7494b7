"""What is read and written of a job's checkpoint, by statements on a connection or session that somebody else opened.

Written once, for plain databases: async ones run these functions by their ``run_sync``. All of a run's writes ask for
its token, so a run whose job was given to another can commit nothing, however late it comes back.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as insert_postgresql
from sqlalchemy.dialects.sqlite import insert as insert_sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from jobworker.errors import ConfigurationError
from jobworker.iteration.transactions.faults import no_such_table
from jobworker.iteration.transactions.table import NAME

Database = sa.Connection | Session

State = Literal["new", "walking", "complete"]
"""Claimed and nothing committed yet; on_start or items committed; all committed, and only Redis has yet to hear it."""

_COMPLETE_KEPT = timedelta(days=1)
_LEFTOVERS_KEPT = timedelta(days=200)  # a job may lie in the dead set for 180 days and then be tried again


@dataclass(frozen=True, slots=True)
class Committed:
    """What the last commit says. ``cursor`` is JSON, ``progress`` what Redis may not have been told."""

    state: State
    cursor: str | None
    processed: int
    progress: str | None


class Superseded(Exception):
    """Another run has claimed the job since: nothing of this transaction may be committed."""


class Store:
    """The statements for one table."""

    def __init__(self, table: sa.Table, idle_seconds: float) -> None:
        self._table = table
        self._idle_milliseconds = str(max(1, round(idle_seconds * 1_000)))

    def begin(self, database: Database, jid: str, token: str) -> None:
        """Begin a transaction that may write.

        Raises:
            Superseded: another run has the job.
        """
        connection = self._connection(database)
        table = self._table.c
        query = sa.select(table.token).where(table.jid == jid)
        if connection.dialect.name == "sqlite":
            _begin_immediate(connection)
        else:
            # One crossing for both: a worker that is stopped inside the transaction must not hold its locks for ever.
            query = query.add_columns(self._idle_end())
        found = database.execute(query).first()
        if found is None or found[0] != token:
            raise Superseded

    def claim(self, database: Database, jid: str, job_class: str, token: str, seed: Committed) -> Committed:
        """Take the job for the run of this token, and tell where it stands: at ``seed`` if no run had it before.

        Raises:
            ConfigurationError: the table is missing, or the engine commits each statement by itself.
        """
        connection = self._connection(database)
        row = {"jid": jid, "job_class": job_class, "token": token, **_columns(seed)}
        try:
            if connection.dialect.name == "sqlite":
                _begin_immediate(connection)
                database.execute(_claim(insert_sqlite(self._table), row))
            else:
                # In front of the row's lock, for which whoever comes next would wait.
                database.execute(sa.select(self._idle_end()))
                database.execute(_claim(insert_postgresql(self._table), row))
                self._refuse_autocommit(database)
            table = self._table.c
            found = database.execute(
                sa.select(table.state, table.cursor, table.processed, table.progress).where(table.jid == jid)
            ).one()
        except DBAPIError as error:
            if no_such_table(error, NAME):
                raise self._missing() from error
            raise
        return Committed(*found)

    def write(self, database: Database, jid: str, token: str, committed: Committed) -> None:
        """Write where the job stands, as the last thing before the commit.

        Raises:
            Superseded: another run has the job.
        """
        if isinstance(database, Session):
            database.flush()
        table = self._table
        changed: Any = database.execute(
            sa.update(table)
            .where(table.c.jid == jid, table.c.token == token)
            .values(_columns(committed))
            .execution_options(synchronize_session=False)
        )
        if changed.rowcount != 1:
            raise Superseded

    def forget(self, database: Database, jid: str) -> None:
        """Delete the row of a job.

        Raises:
            ConfigurationError: the table is missing.
        """
        try:
            database.execute(sa.delete(self._table).where(self._table.c.jid == jid))
        except DBAPIError as error:
            if no_such_table(error, NAME):
                raise self._missing() from error
            raise

    def sweep(self, database: Database) -> None:
        """Delete what nobody needs any more: of complete jobs after a day, of all others after 200."""
        now, table = datetime.now(UTC), self._table.c
        database.execute(
            sa.delete(self._table)
            .where(
                ((table.state == "complete") & (table.updated_at < now - _COMPLETE_KEPT))
                | (table.updated_at < now - _LEFTOVERS_KEPT)
            )
            .execution_options(synchronize_session=False)
        )

    def _idle_end(self) -> sa.ColumnElement[Any]:
        return sa.func.set_config("idle_in_transaction_session_timeout", self._idle_milliseconds, sa.true())

    def _connection(self, database: Database) -> sa.Connection:
        if isinstance(database, Session):
            return database.connection(bind_arguments={"clause": self._table})
        return database

    def _refuse_autocommit(self, database: Database) -> None:
        if database.scalar(sa.select(sa.func.txid_current_if_assigned())) is None:
            raise ConfigurationError(
                "SqlCheckpoints: this engine commits each statement by itself (isolation_level AUTOCOMMIT, or a pooler "
                "in statement mode), so effects and checkpoint cannot be one; give it an engine with transactions"
            )

    def _missing(self) -> ConfigurationError:
        return ConfigurationError(
            f"the table {self._table.fullname} is missing in the database of SqlCheckpoints: add it by a migration "
            "(its definition is in SqlCheckpoints.metadata), or call create_table() once at deployment; a retry "
            "then begins where the job was"
        )


def _columns(committed: Committed) -> dict[str, Any]:
    return {
        "state": committed.state,
        "cursor": committed.cursor,
        "processed": committed.processed,
        "progress": committed.progress,
        "updated_at": datetime.now(UTC),
    }


def _claim(insertion: Any, row: dict[str, Any]) -> sa.Executable:
    # Of a job that is known the token alone changes: whoever had it before can commit no more.
    claim: sa.Executable = insertion.values(row).on_conflict_do_update(
        index_elements=["jid"], set_={"token": row["token"]}
    )
    return claim


def _begin_immediate(connection: sa.Connection) -> None:
    """Take SQLite's write lock now, waiting for the engine's busy time-out.

    By itself the driver begins at the first change, with a lock that it then cannot always make a write lock; and not
    at all for a savepoint, whose release would be the commit.
    """
    driver = connection.connection.driver_connection
    if driver is not None and not driver.in_transaction:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
