"""Rows of a table, or ranges of them, by key: the names of what needs SQLAlchemy, without importing it for others."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, overload

from jobworker.errors import ConfigurationError

Slice = list[Any]
"""A slice of a query: the keys behind which it begins and up to which it goes, as cursors; None for no edge."""

if TYPE_CHECKING:
    from sqlalchemy import Engine, Select
    from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker
    from sqlalchemy.orm import sessionmaker

    from jobworker.iteration.enumerators.sql_walks import SqlWalk, SqlWalkAsync

    Query = Select[*tuple[Any, ...]]


@overload
def sql_records(
    bind: Engine | sessionmaker[Any],
    query: Query,
    cursor: Any,
    *,
    page: int = ...,
    count: bool = ...,
    between: Slice | None = ...,
) -> SqlWalk: ...


@overload
def sql_records(
    bind: AsyncEngine | async_sessionmaker[Any],
    query: Query,
    cursor: Any,
    *,
    page: int = ...,
    between: Slice | None = ...,
) -> SqlWalkAsync: ...


def sql_records(
    bind: Any, query: Any, cursor: Any, *, page: int = 1_000, count: bool = False, between: Slice | None = None
) -> SqlWalk | SqlWalkAsync:
    """The rows of a query, read ``page`` at a time by key.

    ``bind`` is an Engine, or a sessionmaker, with which a select of one mapped class gives its objects, detached; an
    AsyncEngine or async_sessionmaker serves async jobs. The key is what the query is ordered by, which must be columns
    that are unique together and never NULL; without an order, the primary key of its table.

    The cursor is {"key": names, "after": values}. Rows that come and go while the job runs move none of the others:
    what is there all the time is walked once, what comes behind the page that was read last is walked too. A row may
    change or go between its page being read and its turn. ``count`` asks for the total first; with an async bind await
    ``counted()`` of what this returns. ``between`` is a slice that `split_sql` made of the same query: only its rows
    are walked.

    Raises:
        ConfigurationError: the query cannot be walked by key, or SQLAlchemy is not installed.
        CursorMismatch: the cursor is another enumerator's, or of another key.
    """
    walk: SqlWalk | SqlWalkAsync = _walks().records(bind, query, cursor, page=page, count=count, between=between)
    return walk


@overload
def sql_ranges(
    bind: Engine | sessionmaker[Any],
    query: Query,
    cursor: Any,
    *,
    size: int = ...,
    count: bool = ...,
    between: Slice | None = ...,
) -> SqlWalk: ...


@overload
def sql_ranges(
    bind: AsyncEngine | async_sessionmaker[Any],
    query: Query,
    cursor: Any,
    *,
    size: int = ...,
    between: Slice | None = ...,
) -> SqlWalkAsync: ...


def sql_ranges(
    bind: Any, query: Any, cursor: Any, *, size: int = 1_000, count: bool = False, between: Slice | None = None
) -> SqlWalk | SqlWalkAsync:
    """Ranges of ``size`` rows of a query, of which only the keys are read: for statements that work on many rows.

    An item has ``condition``, for ``update(users).where(item.condition)``, and ``query`` for its rows alone.
    Everything else is as with `sql_records`, whose cursors it understands.

    Raises:
        ConfigurationError: the query cannot be walked by key, or SQLAlchemy is not installed.
        CursorMismatch: the cursor is another enumerator's, or of another key.
    """
    walk: SqlWalk | SqlWalkAsync = _walks().ranges(bind, query, cursor, size=size, count=count, between=between)
    return walk


@overload
def split_sql(bind: Engine | sessionmaker[Any], query: Query, parts: int) -> list[Slice]: ...


@overload
def split_sql(bind: AsyncEngine | async_sessionmaker[Any], query: Query, parts: int) -> Awaitable[list[Slice]]: ...


def split_sql(bind: Any, query: Any, parts: int) -> list[Slice] | Awaitable[list[Slice]]:
    """The rows of a query as up to ``parts`` slices of about as many rows each, for ``between`` of the walks over it.

    By keys, as `sql_records` walks: it counts the rows, and looks up the keys in between, which reads the index once
    for each part. With an async bind the answer is to be awaited. Rows that come later are in one of the slices, too.

    Raises:
        ConfigurationError: the query cannot be walked by key, or SQLAlchemy is not installed.
        ValueError: less than one part.
    """
    _walks()
    from jobworker.iteration.enumerators import sql_slices  # noqa: PLC0415  # as the walks

    return sql_slices.slices(bind, query, parts)


def _walks() -> Any:
    try:
        from jobworker.iteration.enumerators import sql_walks  # noqa: PLC0415  # an extra, and slow to import
    except ModuleNotFoundError as error:
        raise ConfigurationError(f"walks over tables need {error.name}: pip install 'jobworker[sql]'") from error
    return sql_walks
