"""Walks over tables through SQLAlchemy, plain and async.

A connection is held while a page is read and not between two pages: a walk takes hours, and a transaction that stays
open for hours keeps a database from cleaning up. Only `sql` imports this, once somebody walks.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import Any, Self

from sqlalchemy import ColumnElement, Engine, Select
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker
from sqlalchemy.orm import sessionmaker

from jobworker.errors import ConfigurationError
from jobworker.iteration.enumerators.key_sets import ROW_VALUES, Key, KeySet, key_set, positions, refuse_equal


@dataclass(frozen=True, slots=True)
class KeyRange:
    """Rows from behind the key ``after`` (None: from the first on) up to the key ``last``, which belongs to it.

    ``condition`` is true of them, for ``update(users).where(item.condition)``; ``query`` is the query for them alone.
    """

    after: Key | None
    last: Key
    condition: ColumnElement[bool] = field(compare=False)
    query: Select[Any] = field(compare=False)


class _Records:
    """Rows as they are selected, or the objects of the one class that is."""

    def __init__(self, name: str, keys: KeySet, *, objects: bool) -> None:
        self._name = name
        self._keys = keys
        self._objects = objects
        self._places = [] if objects else positions(name, keys)

    def query(self, after: Key | None, *, row_values: bool) -> Select[Any]:
        query = self._keys.following(after, row_values=row_values)
        if not self._objects:
            return query
        return query.add_columns(*(column.label(f"jobworker_key_{n}") for n, column in enumerate(self._keys.columns)))

    def pairs(self, rows: Sequence[Any], size: int, after: Key | None, *, row_values: bool) -> list[tuple[Any, Key]]:
        del after, row_values
        if self._objects:
            items: Sequence[Any] = [row[0] for row in rows]
            keys = [tuple(row[1:]) for row in rows]
        else:
            items, keys = rows, self._keys_of(rows)
        refuse_equal(self._name, self._keys, keys)
        return list(zip(items, keys, strict=True))[:size]

    def _keys_of(self, rows: Sequence[Any]) -> list[Key]:
        if len(self._places) == 1:
            (place,) = self._places
            return [(row[place],) for row in rows]
        return list(map(itemgetter(*self._places), rows))


class _Ranges:
    """Ranges of keys; the rows themselves are not read."""

    def __init__(self, name: str, keys: KeySet) -> None:
        self._name = name
        self._keys = keys

    def query(self, after: Key | None, *, row_values: bool) -> Select[Any]:
        query = self._keys.following(after, row_values=row_values)
        return query.with_only_columns(*self._keys.columns, maintain_column_froms=True)

    def pairs(self, rows: Sequence[Any], size: int, after: Key | None, *, row_values: bool) -> list[tuple[Any, Key]]:
        found = [tuple(row) for row in rows]
        refuse_equal(self._name, self._keys, found)
        if not found:
            return []
        last = found[:size][-1]
        condition = self._keys.up_to(last, row_values=row_values)
        if after is not None:
            # Behind the range before, not from the first row that was there: one that came meanwhile belongs here too.
            condition = self._keys.beyond(after, row_values=row_values) & condition
        return [(KeyRange(after, last, condition, self._keys.query.where(condition)), last)]


class _Walk:
    """What both kinds share.

    A page has a row more than is handed out: the next one's key must differ. Only an empty page is the end, since rows
    may come while the last one is worked on.
    """

    def __init__(self, bind: Any, shape: _Records | _Ranges, keys: KeySet, after: Key | None, size: int) -> None:
        self._bind = bind
        self._shape = shape
        self._keys = keys
        self._after = after
        self._size = size
        self._of_item = size if isinstance(shape, _Ranges) else 1  # rows
        self.total: int | None = None

    def _next(self, dialect: str, after: Key | None) -> Select[Any]:
        return self._shape.query(after, row_values=dialect in ROW_VALUES).limit(self._size + 1)

    def _pairs(self, dialect: str, rows: Sequence[Any], after: Key | None) -> list[tuple[Any, Key]]:
        return self._shape.pairs(rows, self._size, after, row_values=dialect in ROW_VALUES)

    def _refuse_null(self, found: Any) -> None:
        if found is not None:
            raise ConfigurationError(
                f"a row has NULL in its key ({', '.join(self._keys.names)}) and would never be reached; order by "
                "columns that are never NULL, or leave such rows out by where()"
            )


class SqlWalk(_Walk):
    """A walk of a plain engine or sessionmaker."""

    def count(self) -> None:
        """Ask how many items there are."""
        with _opened(self._bind) as database:
            rows = database.execute(self._keys.count).scalar_one()
        self.total = -(-rows // self._of_item)

    def __iter__(self) -> Generator[tuple[Any, dict[str, Any]], None, None]:
        after, more, cursor = self._after, True, self._keys.cursors()
        if after is None and self._keys.without_key is not None:
            with _opened(self._bind) as database:
                self._refuse_null(database.execute(self._keys.without_key).first())
        while more:
            with _opened(self._bind) as database:
                dialect = _dialect(database, self._keys.query)
                rows = database.execute(self._next(dialect, after)).all()
            more = bool(rows)
            for item, key in self._pairs(dialect, rows, after):
                after = key
                yield item, cursor(key)


class SqlWalkAsync(_Walk):
    """A walk of an async engine or async_sessionmaker."""

    async def counted(self) -> Self:
        """The walk, which knows its total then. For an async ``build_enumerator``, in front of what wraps the walk."""
        async with _opened(self._bind) as database:
            rows = (await database.execute(self._keys.count)).scalar_one()
        self.total = -(-rows // self._of_item)
        return self

    async def __aiter__(self) -> AsyncGenerator[tuple[Any, dict[str, Any]], None]:
        after, more, cursor = self._after, True, self._keys.cursors()
        if after is None and self._keys.without_key is not None:
            async with _opened(self._bind) as database:
                self._refuse_null((await database.execute(self._keys.without_key)).first())
        while more:
            async with _opened(self._bind) as database:
                dialect = _dialect(database, self._keys.query)
                rows = (await database.execute(self._next(dialect, after))).all()
            more = bool(rows)
            for item, key in self._pairs(dialect, rows, after):
                after = key
                yield item, cursor(key)


def records(
    bind: Any, query: Any, cursor: Any, *, page: int, count: bool, between: list[Any] | None
) -> SqlWalk | SqlWalkAsync:
    """`sql_records`, once SQLAlchemy is known to be there."""
    keys, after = _begun("sql_records", bind, query, cursor, between)
    described = keys.query.column_descriptions
    is_class = len(described) == 1 and described[0].get("entity") is described[0]["expr"]
    by_session = isinstance(bind, sessionmaker | async_sessionmaker)
    shape = _Records("sql_records", keys, objects=is_class and by_session)
    walk = _walk("sql_records", bind, shape, keys, after, page)
    return _counted("sql_records", walk) if count else walk


def ranges(
    bind: Any, query: Any, cursor: Any, *, size: int, count: bool, between: list[Any] | None
) -> SqlWalk | SqlWalkAsync:
    """`sql_ranges`, once SQLAlchemy is known to be there."""
    keys, after = _begun("sql_ranges", bind, query, cursor, between)
    walk = _walk("sql_ranges", bind, _Ranges("sql_ranges", keys), keys, after, size)
    return _counted("sql_ranges", walk) if count else walk


def _begun(name: str, bind: Any, query: Any, cursor: Any, between: list[Any] | None) -> tuple[KeySet, Key | None]:
    """How to walk, within the edges of a slice, and behind which key."""
    keys = key_set(name, query)
    after = keys.read(name, cursor)
    if between is None:
        return keys, after
    first, last = (keys.read(name, edge) for edge in between)
    row_values = getattr(getattr(bind, "dialect", None), "name", "") in ROW_VALUES
    within = keys.query
    if first is not None:
        within = within.where(keys.beyond(first, row_values=row_values))
    if last is not None:
        within = within.where(keys.up_to(last, row_values=row_values))
    return replace(keys, query=within), first if after is None else after


def _walk(
    name: str, bind: Any, shape: _Records | _Ranges, keys: KeySet, after: Key | None, size: int
) -> SqlWalk | SqlWalkAsync:
    if size < 1:
        raise ConfigurationError(f"{name}: a page of {size} rows never comes to an end; give 1 or more")
    if isinstance(bind, AsyncEngine | async_sessionmaker):
        return SqlWalkAsync(bind, shape, keys, after, size)
    if isinstance(bind, Engine | sessionmaker):
        return SqlWalk(bind, shape, keys, after, size)
    raise ConfigurationError(
        f"{name} opens a connection for each page: give it an Engine or a sessionmaker (or an async one), not "
        f"{type(bind).__name__}"
    )


def _counted(name: str, walk: SqlWalk | SqlWalkAsync) -> SqlWalk:
    if isinstance(walk, SqlWalkAsync):
        raise ConfigurationError(
            f"{name}: count=True cannot await; with an async engine, let an async build_enumerator return "
            f"await {name}(…).counted()"
        )
    walk.count()
    return walk


def _opened(bind: Any) -> Any:
    return bind.connect() if isinstance(bind, Engine | AsyncEngine) else bind()


def _dialect(database: Any, query: Select[Any]) -> str:
    """Of a connection, or of whichever engine the session would ask this."""
    dialect = getattr(database, "dialect", None)
    name: str = (dialect or database.get_bind(clause=query).dialect).name
    return name
