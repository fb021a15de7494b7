"""Items that are numbered by nature: those of a list, and the numbers of a range."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

from jobworker.errors import ConfigurationError, CursorMismatch
from jobworker.iteration.enumerators.cursors import is_count, is_whole, refuse

T = TypeVar("T")


class list_items(Generic[T]):  # noqa: N801  # reads as the verb it is: `return list_items(users, cursor)`
    """The items of a list; the cursor is the index of the next one.

    The list must be the same at each run of the job: pass ids that were chosen once, not a query's changing answer.

    Raises:
        CursorMismatch: the cursor is no index of this list, or lies behind its end.
    """

    def __init__(self, items: Sequence[T], cursor: int | None) -> None:
        if cursor is not None and not is_count(cursor):
            refuse("list_items", cursor, "its cursor is the index of the next item, a number from 0 on")
        self._items = items
        self._next = cursor or 0
        self.total = len(items)
        if self._next > self.total:
            raise CursorMismatch(
                f"list_items was at item {self._next} of a list that has only {self.total} items now; give it the same "
                "list at each run, such as ids among the job's arguments"
            )

    def __iter__(self) -> Iterator[tuple[T, int]]:
        for index in range(self._next, len(self._items)):
            yield self._items[index], index + 1


class number_range:  # noqa: N801  # the same
    """The numbers from ``start`` to below ``stop`` (above it where ``step`` is negative); the cursor is the next one.

    The stop may move between two runs, ahead or back; the start and the step may not.

    Raises:
        ConfigurationError: the step is 0.
        CursorMismatch: the cursor is no number of this range.
    """

    def __init__(self, start: int, stop: int, cursor: int | None, *, step: int = 1) -> None:
        if step == 0:
            raise ConfigurationError("number_range: a step of 0 never comes to an end; give another one")
        if cursor is not None and not is_whole(cursor):
            refuse("number_range", cursor, "its cursor is the next number")
        begin = start if cursor is None else cursor
        steps, rest = divmod(begin - start, step)
        if steps < 0 or rest:
            refuse("number_range", cursor, f"it counts from {start} in steps of {step}")
        self._rest = range(begin, stop, step)
        self._step = step
        self.total = len(range(start, stop, step))

    def __iter__(self) -> Iterator[tuple[int, int]]:
        for number in self._rest:
            yield number, number + self._step
