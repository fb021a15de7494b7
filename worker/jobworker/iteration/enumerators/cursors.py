"""What enumerators share: how many items there are, and how to tell a cursor of theirs from another's.

A job outlives deploys, so the cursor that it begins with may have been written by an older version of its code.
"""

from __future__ import annotations

from typing import Any, NoReturn, Protocol, runtime_checkable

from jobworker.errors import CursorMismatch


@runtime_checkable
class Counted(Protocol):
    """An enumerator that knows how many items there are from the very beginning, not from its cursor."""

    @property
    def total(self) -> int | None:
        """Items altogether, or None."""


def refuse(enumerator: str, cursor: Any, expected: str) -> NoReturn:
    """The cursor is not one that this enumerator writes.

    Raises:
        CursorMismatch: always; it shows the cursor and says what was expected.
    """
    raise CursorMismatch(
        f"{enumerator} cannot go on from the cursor {cursor!r:.200}: {expected}. Was build_enumerator changed while "
        "the job was under way? Deploy a version that reads both cursors, or delete the job and enqueue it anew"
    )


def is_whole(value: Any) -> bool:
    """Whether it is a whole number; True and False are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_count(value: Any) -> bool:
    """Whether it is a whole number from 0 on."""
    return is_whole(value) and value >= 0
