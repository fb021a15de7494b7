"""Where a query can be cut into slices by key, for parallel jobs: counted once, and then asked for the keys in between.

The first slice begins and the last one ends where rows may still come, so none that comes while they walk is left out.
"""

from __future__ import annotations

from collections.abc import Awaitable, Generator
from typing import Any

from sqlalchemy import Engine, Select
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker
from sqlalchemy.orm import sessionmaker

from jobworker.errors import ConfigurationError
from jobworker.iteration.enumerators.key_sets import KeySet, key_set

Slices = list[list[Any]]
_Steps = Generator[Select[Any], Any, Slices]


def slices(bind: Any, query: Any, parts: int) -> Slices | Awaitable[Slices]:
    """`split_sql`, once SQLAlchemy is known to be there."""
    if parts < 1:
        raise ValueError(f"{parts} parts: there must be at least one")
    steps = _cut(key_set("split_sql", query), parts)
    if isinstance(bind, AsyncEngine | async_sessionmaker):
        return _asked_async(bind, steps)
    if isinstance(bind, Engine | sessionmaker):
        return _asked(bind, steps)
    raise ConfigurationError(
        "split_sql opens a connection: give it an Engine or a sessionmaker (or an async one), not "
        f"{type(bind).__name__}"
    )


def _cut(keys: KeySet, parts: int) -> _Steps:
    if keys.without_key is not None and (yield keys.without_key) is not None:
        raise ConfigurationError(
            f"a row has NULL in its key ({', '.join(keys.names)}) and would be in no slice; order by columns that are "
            "never NULL, or leave such rows out by where()"
        )
    rows = (yield keys.count)[0]
    ordered = keys.following(None, row_values=False).with_only_columns(*keys.columns, maintain_column_froms=True)
    edges: list[Any] = []
    parts = min(parts, rows)
    for part in range(1, parts):
        found = yield ordered.offset(rows * part // parts - 1).limit(1)
        if found is not None:  # else rows went since they were counted
            edges.append(keys.cursor(tuple(found)))
    if not rows:
        return []
    return [[after, until] for after, until in zip([None, *edges], [*edges, None], strict=True)]


def _asked(bind: Any, steps: _Steps) -> Slices:
    with bind.connect() if isinstance(bind, Engine) else bind() as database:
        try:
            query = next(steps)
            while True:
                query = steps.send(database.execute(query).first())
        except StopIteration as end:
            found: Slices = end.value
            return found


async def _asked_async(bind: Any, steps: _Steps) -> Slices:
    async with bind.connect() if isinstance(bind, AsyncEngine) else bind() as database:
        try:
            query = next(steps)
            while True:
                query = steps.send((await database.execute(query)).first())
        except StopIteration as end:
            found: Slices = end.value
            return found
