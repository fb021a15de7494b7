"""Which errors of a database pass by themselves, so that the walk goes on from its last commit.

A connection that was lost says nothing about the item, and neither does another transaction that was in the way. All
other errors are the item's own.
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

_SQLITE_BUSY, _SQLITE_LOCKED = 5, 6

_PASSING_STATES = {
    "40001",  # serialization_failure
    "40P01",  # deadlock_detected
    "53300",  # too_many_connections
    "57P01",  # admin_shutdown: somebody ended the connection, or the server
    "57P02",  # crash_shutdown
    "57P03",  # cannot_connect_now: the server starts
    "25P03",  # idle_in_transaction_session_timeout
    "25006",  # read_only_sql_transaction: a primary that became a standby
}
_CONNECTION = "08"  # the class of all states that tell of a connection
_NO_SUCH_TABLE = "42P01"


def passes(error: BaseException) -> bool:
    """May the same work go well in a new transaction? Asked of an error, and of what it was raised from."""
    return any(
        isinstance(each, PoolTimeout) or (isinstance(each, DBAPIError) and _passes(each)) for each in _chain(error)
    )


def no_such_table(error: DBAPIError, name: str) -> bool:
    """Was it the table of this name that is not there?"""
    if _state(error) == _NO_SUCH_TABLE:
        return name in str(error.orig)
    return "no such table" in str(error.orig) and name in str(error.orig)


def _passes(error: DBAPIError) -> bool:
    if error.connection_invalidated:
        return True
    state = _state(error)
    if state is not None:
        return state in _PASSING_STATES or state.startswith(_CONNECTION)
    code = getattr(error.orig, "sqlite_errorcode", None)
    if code is not None:
        # The lower byte: the upper ones tell why it is busy.
        return code & 0xFF in {_SQLITE_BUSY, _SQLITE_LOCKED}
    # Of PostgreSQL an error without a state did not come from the server: it was not there, or went away.
    return type(error.orig).__module__.startswith("psycopg") and isinstance(error, OperationalError | InterfaceError)


def _state(error: DBAPIError) -> str | None:
    state = getattr(error.orig, "sqlstate", None)  # psycopg, and asyncpg below its wrapper
    return state if isinstance(state, str) else None


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        yield following
        following = following.__cause__ or (None if following.__suppress_context__ else following.__context__)
