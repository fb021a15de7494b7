"""Enumerators within an enumerator: for each item of an outer one, all items of an inner one."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import orjson

from jobworker.errors import CursorMismatch
from jobworker.iteration.enumerators.cursors import refuse
from jobworker.iteration.enumerators.walking import Enumerator, async_pairs, closed, plain_pairs


@dataclass(frozen=True, slots=True)
class _Place:
    """Within one item of the outer enumerator: its cursors before and behind that item, and the inner one's."""

    before: Any
    behind: Any
    within: Any


class nested:  # noqa: N801  # reads as what it is: `return nested(shops, products_of, cursor)`
    """Pairs of an outer item and an inner one: ``outer(cursor)`` and ``inner(item, cursor)`` make the enumerators.

    The cursor is {"outer": [cursor before the outer item, cursor behind it], "inner": cursor}. A run goes on within
    the outer item that it was in, or with the next if that one is gone; those that came before it meanwhile are
    passed over, as the walk had passed them. So the outer enumerator must give its items in the same order each time:
    a list, a file, a table, not `redis_scan`. ``inner`` may return another `nested`.

    Raises:
        CursorMismatch: the cursor is another enumerator's, or the outer items come in another order now.
    """

    def __init__(
        self, outer: Callable[[Any], Enumerator], inner: Callable[[Any, Any], Enumerator], cursor: Any
    ) -> None:
        self._outer = outer
        self._inner = inner
        self._place: _Place | None = None
        match cursor:
            case None:
                pass
            case {"outer": [before, behind], "inner": within}:
                self._place = _Place(before, behind, within)
            case _:
                refuse("nested", cursor, 'its cursor is {"outer": [before, behind], "inner": cursor}')

    def __iter__(self) -> Generator[tuple[tuple[Any, Any], Any], None, None]:
        search = _Search(self._place)
        outer_pairs = plain_pairs(self._outer(search.before))
        try:
            for outer_item, behind in outer_pairs:
                if search.wants_next(behind):
                    search.tell_next(self._first_behind())
                if not search.reached(behind):
                    continue
                inner_pairs = plain_pairs(self._inner(outer_item, search.within))
                try:
                    for inner_item, within in inner_pairs:
                        yield (outer_item, inner_item), search.cursor(behind, within)
                finally:
                    closed(inner_pairs)
                search.leave(behind)
        finally:
            closed(outer_pairs)
        search.end()

    async def __aiter__(self) -> AsyncGenerator[tuple[tuple[Any, Any], Any], None]:
        search = _Search(self._place)
        async with aclosing(async_pairs(self._outer(search.before))) as outer_pairs:
            async for outer_item, behind in outer_pairs:
                if search.wants_next(behind):
                    search.tell_next(await self._first_behind_async())
                if not search.reached(behind):
                    continue
                async with aclosing(async_pairs(self._inner(outer_item, search.within))) as inner_pairs:
                    async for inner_item, within in inner_pairs:
                        yield (outer_item, inner_item), search.cursor(behind, within)
                search.leave(behind)
        search.end()

    def _first_behind(self) -> Any:
        assert self._place is not None, "only who goes on searches"  # noqa: S101  # for the type checker
        pairs = plain_pairs(self._outer(self._place.behind))
        try:
            return next(pairs, None)
        finally:
            closed(pairs)

    async def _first_behind_async(self) -> Any:
        assert self._place is not None, "only who goes on searches"  # noqa: S101  # the same
        async with aclosing(async_pairs(self._outer(self._place.behind))) as pairs:
            return await anext(pairs, None)


class _Search:
    """Finds the outer item that a run was in, and keeps what its cursors say from there on.

    It is the one whose cursor is the same as before. Where others come instead, the first item behind it tells when it
    is certainly gone.
    """

    def __init__(self, place: _Place | None) -> None:
        self._place = place
        self._next: Any = None
        self._asked = False
        self.before: Any = None if place is None else place.before
        self.within: Any = None

    def wants_next(self, behind: Any) -> bool:
        return self._place is not None and not self._asked and _travelled(behind) != self._place.behind

    def tell_next(self, pair: Any) -> None:
        self._asked = True
        self._next = None if pair is None else _travelled(pair[1])

    def reached(self, behind: Any) -> bool:
        if self._place is None:
            return True
        here = _travelled(behind)
        if here == self._place.behind:
            self.within = self._place.within
        elif not self._asked or self._next is None or here != self._next:
            self.before = behind
            return False
        self._place = None
        return True

    def cursor(self, behind: Any, within: Any) -> dict[str, Any]:
        return {"outer": [self.before, behind], "inner": within}

    def leave(self, behind: Any) -> None:
        self.before, self.within = behind, None

    def end(self) -> None:
        if self._place is not None and self._next is not None:
            raise CursorMismatch(
                f"nested was within the outer item before {self._place.behind!r:.80}, and neither it nor the one "
                "behind it came; let the outer enumerator give its items in the same order at each run"
            )


def _travelled(cursor: Any) -> Any:
    return orjson.loads(orjson.dumps(cursor))
