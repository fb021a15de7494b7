"""One transaction of a run after the other: what happens around each item and at each commit.

All of it works on a plain connection or session; seats open and close them, async ones call these by ``run_sync``.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import replace
from typing import Any

from sqlalchemy import NestedTransaction, RootTransaction
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.orm import SessionTransaction

from jobworker.errors import ConfigurationError
from jobworker.iteration.cursors import read_cursor, written_cursor
from jobworker.iteration.keeping import Place
from jobworker.iteration.store import Stored, TakenBack
from jobworker.iteration.transactions.checkpoints import SqlCheckpoints
from jobworker.iteration.transactions.faults import passes
from jobworker.iteration.transactions.redo import progress_of, redo_of
from jobworker.iteration.transactions.store import Committed, Database, State, Superseded

Savepoint = NestedTransaction | SessionTransaction


class Work:
    """The transactions of one run of ``job``, each begun at the first item after the last commit.

    ``items`` are in the present one, ``settled`` is false from the beginning of an item to the commit of its effects.
    Methods leave a transaction that is worth nothing after they raised `TakenBack`,
    or anything at a commit; its seat then drops it.
    """

    def __init__(self, checkpoints: SqlCheckpoints, job: Any) -> None:
        self.items = 0
        self.settled = True
        self._checkpoints = checkpoints
        self._store = checkpoints.store
        self._job = job
        self._jid = ""
        self._token = ""
        self._cursor: Any = None
        self._processed = 0
        self._began = 0.0
        self._root: RootTransaction | SessionTransaction | None = None
        self._singly = 0  # so many items are committed one by one, to find out whose error a commit had

    def claim(self, database: Database, jid: str, place: Place) -> Stored:
        """Take the job; where its database knows nothing of it, it stands where Redis says."""
        self.items, self.settled = 0, True
        self._jid, self._token = jid, secrets.token_hex(16)
        try:
            found = self._store.claim(database, jid, type(self._job).__name__, self._token, _seed(place))
            database.commit()
        except DBAPIError as error:
            raise _taken_back(error) from error
        raw = None if found.cursor is None else found.cursor.encode()
        self._cursor, self._processed = read_cursor(raw), found.processed
        progress = None if found.progress is None else progress_of(found.progress)
        return Stored(raw, found.processed, progress, began=found.state != "new", over=found.state == "complete")

    def begin(self, database: Database) -> None:
        """Begin a transaction."""
        try:
            self._store.begin(database, self._jid, self._token)
        except (DBAPIError, Superseded) as error:
            raise _taken_back(error) from error
        self._began = time.monotonic()
        self._root = database.get_transaction()

    def intact(self, database: Database) -> bool:
        """Is the transaction that was begun still there, after an error?"""
        transaction = database.get_transaction()
        return transaction is not None and transaction is self._root and transaction.is_active

    def enter(self, database: Database) -> Savepoint | None:
        """An item begins."""
        self.settled = False
        if not self._checkpoints.savepoints:
            return None
        try:
            return database.begin_nested().__enter__()
        except DBAPIError as error:
            raise _taken_back(error) from error

    def undo(self, database: Database, savepoint: Savepoint | None, error: BaseException) -> bool:
        """The item raised: take back its effects, or all if the error is not the item's. Is the transaction over?

        Raises:
            TakenBack: the error passes by itself, the database went away, or each_iteration ended the transaction.
        """
        if isinstance(error, Exception) and passes(error):
            raise TakenBack(error) from error
        self._refuse_ended(database)
        if savepoint is None:
            database.rollback()
            if self.items:  # which went well, and come again before this one does
                self._singly = self.items + 1
                raise TakenBack(error) from error
            return True
        try:
            savepoint.__exit__(type(error), error, error.__traceback__)
        except SQLAlchemyError as lost:
            raise TakenBack(lost) from error
        return False

    def leave(self, database: Database, savepoint: Savepoint | None, cursor: Any, processed: int) -> bool:
        """The item went well. Was it committed?

        Raises:
            SQLAlchemyError: the item's effects could not be written, or not committed.
            TakenBack: the same, but it was not the item's fault, or nobody knows yet whose it was; or each_iteration
                ended the transaction.
        """
        self._refuse_ended(database)
        if savepoint is not None:
            try:
                savepoint.commit()
            except SQLAlchemyError as error:
                self.undo(database, savepoint, error)
                raise
            savepoint.__exit__(None, None, None)
        self._cursor, self._processed = cursor, processed
        self.items += 1
        due = time.monotonic() - self._began >= self._checkpoints.seconds
        if not (due or self.items >= self._checkpoints.every or self._singly):
            return False
        self.commit(database)
        return True

    def _refuse_ended(self, database: Database) -> None:
        if database.get_transaction() is self._root:
            return
        name = type(self._job).__name__
        raise TakenBack(
            ConfigurationError(
                f"{name}.each_iteration ended self.transaction by commit, rollback or close; the worker commits it "
                "together with the cursor, so leave that to it (self.transaction.begin_nested() is for what may fail)"
            ),
            again=False,
        )

    def settle(self, database: Database) -> None:
        """Commit what was done, if there is anything."""
        if self.items:
            self.commit(database)
        self.settled = True

    def commit(self, database: Database, state: State = "walking") -> None:
        """Write the cursor and commit.

        Raises:
            TakenBack: another run has the job, the error passes, or the items have to be committed one by one.
            SQLAlchemyError: the one item of this transaction has effects that cannot be committed.
        """
        items, self.items = self.items, 0
        try:
            self._store.write(database, self._jid, self._token, self._committed(state))
            database.commit()
        except Superseded as error:
            raise TakenBack(error) from error
        except SQLAlchemyError as error:
            if items > 1 and not passes(error):
                self._singly = items
                raise TakenBack(error) from error
            raise _taken_back(error) from error
        self._singly = max(0, self._singly - items)
        self.settled = True

    def sweep(self, database: Database) -> None:
        """Delete rows of jobs that ended long ago."""
        self._store.sweep(database)
        database.commit()

    def _committed(self, state: State) -> Committed:
        cursor = None if self._cursor is None else written_cursor(type(self._job).__name__, self._cursor).decode()
        # Inside of its item, the progress does not count it yet.
        progress = replace(self._job.progress.snapshot(), processed=self._processed)
        return Committed(state, cursor, self._processed, redo_of(progress))


def _seed(place: Place) -> Committed:
    cursor = None if place.state.cursor is None else place.state.cursor.decode()
    return Committed("walking" if place.state.executions else "new", cursor, place.processed, None)


def _taken_back(error: Exception) -> BaseException:
    return TakenBack(error) if isinstance(error, Superseded) or passes(error) else error
