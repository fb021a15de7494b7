"""How a query is walked by key: which columns are its key, what follows a key, and how a key becomes a cursor.

No I/O. A key set, unlike OFFSET, costs the same at any place and does not shift when rows come and go.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from itertools import pairwise
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Table, and_, func, literal, or_, select, tuple_
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import ColumnClause, UnaryExpression

from jobworker.errors import ConfigurationError, CursorMismatch
from jobworker.iteration.enumerators.cursors import refuse

Key = tuple[Any, ...]

ROW_VALUES = frozenset({"postgresql", "sqlite", "mysql", "mariadb"})
"""Dialects that compare (a, b) > (1, 2) by an index on both; elsewhere the same is written out."""

_HINT = "add .order_by(…) with columns that are unique together, such as the primary key"
_LEAST, _MOST = -(1 << 63), (1 << 63) - 1  # what every reader of JSON takes for the same number


@dataclass(frozen=True, slots=True)
class KeySet:
    """A query and the columns that it is walked by, each upwards or downwards."""

    query: Select[Any]
    columns: tuple[ColumnClause[Any], ...]
    descending: tuple[bool, ...]

    @property
    def names(self) -> list[str]:
        """Of the columns, as a cursor tells them."""
        return [column.name for column in self.columns]

    def following(self, after: Key | None, *, row_values: bool) -> Select[Any]:
        """The query, in order, from behind a key."""
        ordered = self.query.order_by(None).order_by(
            *(
                column.desc() if down else column.asc()
                for column, down in zip(self.columns, self.descending, strict=True)
            )
        )
        return ordered if after is None else ordered.where(self.beyond(after, row_values=row_values))

    def beyond(self, key: Key, *, row_values: bool) -> ColumnElement[bool]:
        """True of rows that come after this key."""
        values = [literal(value, column.type) for value, column in zip(key, self.columns, strict=True)]
        if len(values) > 1 and row_values and len(set(self.descending)) == 1:
            ours, theirs = tuple_(*self.columns), tuple_(*values)
            return ours < theirs if self.descending[0] else ours > theirs
        alternatives: list[ColumnElement[bool]] = []
        equal: list[ColumnElement[bool]] = []
        for column, value, down in zip(self.columns, values, self.descending, strict=True):
            alternatives.append(and_(*equal, column < value if down else column > value))
            equal.append(column == value)
        return or_(*alternatives)

    def up_to(self, key: Key, *, row_values: bool) -> ColumnElement[bool]:
        """True of rows that come before this key, and of its own."""
        return ~self.beyond(key, row_values=row_values)

    @property
    def without_key(self) -> Select[Any] | None:
        """One row whose key holds a NULL, which no order would ever reach; None where no column can be NULL."""
        unsure = [column for column in self.columns if getattr(column, "nullable", True)]
        if not unsure:
            return None
        return self.query.order_by(None).where(or_(*(column.is_(None) for column in unsure))).limit(1)

    @property
    def count(self) -> Select[Any]:
        """How many rows there are."""
        return select(func.count()).select_from(self.query.order_by(None).subquery())

    def cursor(self, key: Key) -> dict[str, Any]:
        """To go on behind this key."""
        return self.cursors()(key)

    def cursors(self) -> Callable[[Key], dict[str, Any]]:
        """`cursor` for the keys of a whole walk, all of which share the names."""
        names = self.names
        return lambda key: {"key": names, "after": [_written(value) for value in key]}

    def read(self, enumerator: str, cursor: Any) -> Key | None:
        """The key that a cursor tells.

        Raises:
            CursorMismatch: it is another enumerator's, or of another key.
        """
        match cursor:
            case None:
                return None
            case {"key": [*names], "after": [*values]} if len(values) == len(names):
                if names != self.names:
                    raise CursorMismatch(
                        f"{enumerator} was walking by {', '.join(map(str, names))} and shall go on by "
                        f"{', '.join(self.names)}; deploy the order back, or delete the job and enqueue it anew"
                    )
                return tuple(_read(enumerator, cursor, value) for value in values)
            case _:
                return refuse(enumerator, cursor, 'its cursor is {"key": names of columns, "after": their values}')


def key_set(enumerator: str, query: Any) -> KeySet:
    """How to walk a query: by its own order, or by the primary key of its only table.

    Raises:
        ConfigurationError: it cannot be walked by key. The message says what to change.
    """
    if not isinstance(query, Select):
        raise ConfigurationError(f"{enumerator} walks over a select(…), not over {type(query).__name__}")
    cut = (query._limit_clause, query._offset_clause, query._fetch_clause)  # noqa: SLF001  # nothing public tells
    if any(clause is not None for clause in cut):
        raise ConfigurationError(f"{enumerator} reads page by page: leave out the query's own limit() and offset()")
    order = query._order_by_clauses  # noqa: SLF001  # the same
    directed = [_directed(enumerator, clause) for clause in order] if order else _primary_key(enumerator, query)
    return KeySet(query, tuple(column for column, _ in directed), tuple(down for _, down in directed))


def positions(enumerator: str, keys: KeySet) -> list[int]:
    """Where the key stands in each row.

    Raises:
        ConfigurationError: a column of the key is not selected.
    """
    # Mapped classes hand out copies of a column, which have its hash and nothing else that tells them from an alias's.
    selected = {hash(column): index for index, column in enumerate(keys.query.selected_columns)}
    for column in keys.columns:
        if hash(column) not in selected:
            raise ConfigurationError(f"{enumerator} goes on by {column}, which the query does not select; add it")
    return [selected[hash(column)] for column in keys.columns]


def refuse_equal(enumerator: str, keys: KeySet, rows: Sequence[Key]) -> None:
    """Neighbours of one key would be lost where a page ends between them.

    Raises:
        ConfigurationError: there are such.
    """
    for before, after in pairwise(rows):
        if before == after:
            raise ConfigurationError(
                f"{enumerator}: several rows have {', '.join(keys.names)} = {', '.join(map(repr, after))}, of which "
                f"some would be lost; {_HINT}"
            )


def _directed(enumerator: str, clause: Any) -> tuple[ColumnClause[Any], bool]:
    down = False
    if isinstance(clause, UnaryExpression) and clause.modifier in {operators.asc_op, operators.desc_op}:
        down = clause.modifier is operators.desc_op
        clause = clause.element
    if not isinstance(clause, ColumnClause):
        raise ConfigurationError(
            f"{enumerator} is ordered by {clause}, which is no column of a table; order by columns, alone or with "
            "desc()"
        )
    return clause, down


def _primary_key(enumerator: str, query: Select[Any]) -> list[tuple[Any, bool]]:
    froms = query.get_final_froms()
    table = getattr(froms[0], "element", froms[0]) if len(froms) == 1 else None  # an alias is one of a table
    if not isinstance(table, Table) or not table.primary_key.columns:
        what = "the query has no order" + (", and no primary key to be ordered by" if isinstance(table, Table) else "")
        raise ConfigurationError(f"{enumerator}: {what}; {_HINT}")
    return [(froms[0].c[column.key], False) for column in table.primary_key.columns]


def _isoformat(value: date | time) -> str:
    return value.isoformat()


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()


# A datetime is a date, too, so it comes first.
_KINDS: tuple[tuple[str, type, Callable[[Any], str], Callable[[str], Any]], ...] = (
    ("datetime", datetime, _isoformat, datetime.fromisoformat),
    ("date", date, _isoformat, date.fromisoformat),
    ("time", time, _isoformat, time.fromisoformat),
    ("uuid", UUID, str, UUID),
    ("decimal", Decimal, str, Decimal),
    ("int", int, str, int),
    ("bytes", bytes, _base64, base64.b64decode),
)
_READERS = {name: read for name, _, _, read in _KINDS}


def _written(value: Any) -> Any:
    kind = type(value)  # what most keys are, first: this is done for each row
    if kind is str or (kind is int and _LEAST <= value <= _MOST):
        return value
    if not isinstance(value, Enum):
        if isinstance(value, str | bool) or (isinstance(value, float) and math.isfinite(value)):
            return value
        if isinstance(value, int) and _LEAST <= value <= _MOST:
            return value
        for name, kind, write, _ in _KINDS:
            if isinstance(value, kind):
                return {name: write(value)}
    raise ConfigurationError(
        f"a key of {type(value).__name__} ({value!r:.80}) makes no cursor; order by numbers, strings, times, UUIDs or "
        "bytes"
    )


def _read(enumerator: str, cursor: Any, value: Any) -> Any:
    if isinstance(value, str | bool | int | float):
        return value
    try:
        ((name, text),) = value.items()
        return _READERS[name](text)
    except (AttributeError, KeyError, TypeError, ValueError, ArithmeticError):
        return refuse(enumerator, cursor, f"{value!r:.80} is no value of a key")
