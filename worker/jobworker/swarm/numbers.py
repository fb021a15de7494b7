"""Which child a held job belongs to: the number of the child stands above the count of its jobs.

Lua counts in doubles, exact up to 2⁵³: room for 131,072 children in the life of a pod, with 2³⁶ jobs each.
"""

from __future__ import annotations

_BITS = 36
MOST_CHILDREN = 1 << (53 - _BITS)


def first_number(child: int) -> int:
    """The number of the first job of a child, which is number 1 or more."""
    return (child << _BITS) + 1


def owner(number: int) -> int:
    """The number of the child that took a job."""
    return number >> _BITS
