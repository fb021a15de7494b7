"""How far a file in object storage is: what the checkpoints of an export hold. Pure values.

A part holds whole rows, and remembers where the walk stood behind its last. So an upload can be taken back to the end
of any part. What is not enough for a part yet is put aside in an object of its own, in one of two places in turn: the
last one that a checkpoint names stays whole until the next checkpoint names the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from jobworker.iteration.enumerators.cursors import is_count, refuse

_VERSION = 1


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the upload: its bytes, the rows up to its end, and the walk's cursor there."""

    etag: str
    size: int
    rows: int
    walk: Any


@dataclass(frozen=True, slots=True)
class Aside:
    """Bytes behind the last part, in one of the two places; none are in no place."""

    place: int
    etag: str
    size: int
    rows: int
    walk: Any


@dataclass(frozen=True, slots=True)
class Position:
    """Where an export stands.

    ``walked``: no row is to come, and all are in the parts. ``stored``: the object is there. ``restarts`` counts how
    often parts were lost.
    """

    key: str | None = None
    upload: str | None = None
    parts: tuple[Part, ...] = ()
    aside: Aside | None = None
    walked: bool = False
    stored: bool = False
    restarts: int = 0

    @property
    def rows(self) -> int:
        """Rows that are safe."""
        last = self._last
        return 0 if last is None else last.rows

    @property
    def walk(self) -> Any:
        """The walk's cursor behind them."""
        last = self._last
        return None if last is None else last.walk

    @property
    def size(self) -> int:
        """Bytes in the parts."""
        return sum(part.size for part in self.parts)

    @property
    def begun(self) -> bool:
        """Is any byte of the file safe, or were there rows that left none?"""
        return self._last is not None

    def with_part(self, part: Part) -> Self:
        """One more part, which holds what was put aside."""
        return replace(self, parts=(*self.parts, part), aside=None)

    def back_to(self, parts: int) -> Self:
        """So many parts are left; no row of the others was ever written."""
        upload = self.upload if parts else None
        return replace(
            self, upload=upload, parts=self.parts[:parts], aside=None, walked=False, restarts=self.restarts + 1
        )

    @property
    def _last(self) -> Part | Aside | None:
        if self.aside is not None:
            return self.aside
        return self.parts[-1] if self.parts else None

    def cursor(self) -> dict[str, Any]:
        """As it travels."""
        aside = self.aside
        return {
            "export": _VERSION,
            "key": self.key,
            "upload": self.upload,
            "parts": [[part.etag, part.size, part.rows, part.walk] for part in self.parts],
            "aside": None if aside is None else [aside.place, aside.etag, aside.size, aside.rows, aside.walk],
            "end": "stored" if self.stored else "walked" if self.walked else None,
            "restarts": self.restarts,
        }

    @classmethod
    def read(cls, cursor: Any) -> Self:
        """From a cursor.

        Raises:
            CursorMismatch: it is not one of an export.
        """
        match cursor:
            case None:
                return cls()
            case {
                "export": 1, "key": str() | None as key, "upload": str() | None as upload, "parts": [*parts],
                "aside": aside, "end": end, "restarts": int(restarts),
            }:  # fmt: skip
                return cls(
                    key,
                    upload,
                    tuple(_part(cursor, part) for part in parts),
                    None if aside is None else _aside(cursor, aside),
                    end in {"walked", "stored"},
                    end == "stored",
                    restarts,
                )
            case _:
                return refuse("an export", cursor, "its cursor tells the parts of an upload")


def _part(cursor: Any, part: Any) -> Part:
    match part:
        case [str(etag), size, rows, walk] if is_count(size) and is_count(rows):
            return Part(etag, size, rows, walk)
        case _:
            return refuse("an export", cursor, "a part is [ETag, bytes, rows, cursor of the walk]")


def _aside(cursor: Any, aside: Any) -> Aside:
    match aside:
        case [0 | 1 as place, str(etag), size, rows, walk] if is_count(size) and is_count(rows):
            return Aside(place, etag, size, rows, walk)
        case _:
            return refuse("an export", cursor, "what is put aside is [place, ETag, bytes, rows, cursor of the walk]")


def first_difference(parts: Sequence[Part], found: Sequence[tuple[int, str]]) -> int:
    """How many parts from the first on are in the storage as they were written; ``found`` are numbers and ETags."""
    there = dict(found)
    for number, part in enumerate(parts, 1):
        if there.get(number) != part.etag:
            return number - 1
    return len(parts)
