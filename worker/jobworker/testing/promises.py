"""What may be true of a job's effects after a disturbance, and how a difference is told."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from numbers import Number
from pprint import pformat
from typing import Any

Promise = Callable[[Any, Any], bool]
"""Asked with the effects of an undisturbed job and those of a disturbed one: may it be?"""

_LINES = 40  # of effects that a message shows
_WIDTH = 100


def same(undisturbed: Any, disturbed: Any) -> bool:
    """The effects are equal: of a job whose items may be done twice without a trace."""
    return bool(undisturbed == disturbed)


def at_least_once(undisturbed: Any, disturbed: Any) -> bool:
    """Nothing is missing and nothing is new, but things may have happened more than once.

    Numbers may be greater, elements of a list may be there more often and in another order, each value of a mapping
    may do the same, and all else is equal.
    """
    if isinstance(undisturbed, bool | str | bytes):
        return same(undisturbed, disturbed)
    if isinstance(undisturbed, Mapping) and isinstance(disturbed, Mapping):
        return undisturbed.keys() == disturbed.keys() and all(
            at_least_once(undisturbed[key], disturbed[key]) for key in undisturbed
        )
    if isinstance(undisturbed, Sequence) and isinstance(disturbed, Sequence):
        once, again = _counted(undisturbed), _counted(disturbed)
        return once.keys() == again.keys() and once <= again
    if isinstance(undisturbed, Number) and isinstance(disturbed, Number):
        return bool(disturbed >= undisturbed)  # type: ignore[operator]  # numbers, and complex ones raise
    return same(undisturbed, disturbed)


def told(undisturbed: Any, disturbed: Any) -> str:
    """Both effects, and the lines in which they differ where there are several."""
    once, again = pformat(undisturbed, width=_WIDTH).splitlines(), pformat(disturbed, width=_WIDTH).splitlines()
    parts = [_block("undisturbed", once), _block("disturbed", again)]
    if len(once) > 1 or len(again) > 1:
        lines = list(difflib.unified_diff(once, again, "undisturbed", "disturbed", lineterm="", n=1))
        parts.append(_block("difference", lines))
    return "\n".join(parts)


def _counted(elements: Collection[Any]) -> Counter[Any]:
    try:
        return Counter(elements)
    except TypeError:
        # Rows as lists or dicts cannot be counted; what they look like can.
        return Counter(map(repr, elements))


def _block(title: str, lines: Sequence[str]) -> str:
    if len(lines) == 1:
        return f"  {title + ':':<12} {lines[0]}"
    rest = len(lines) - _LINES
    shown = [*lines[:_LINES], *([f"… and {rest} lines more"] if rest > 0 else [])]
    return "\n".join([f"  {title}:", *(f"    {line}" for line in shown)])
