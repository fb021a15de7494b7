"""Which queues a worker takes where some are named by pattern: ``mail_*`` takes many, ``!mail_old`` leaves one out.

A worker's record tells its queues as they were written, so whoever asks who takes a queue has to read them this way.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

_WILD = frozenset("*?[")
EXCLUDE = "!"


def is_pattern(name: str) -> bool:
    """Does it stand for queues by pattern, or leave some out?"""
    return name.startswith(EXCLUDE) or not _WILD.isdisjoint(name)


def takes(written: Sequence[str], queue: str) -> bool:
    """Does a worker whose queues were written like this take from ``queue``? A name stands above an exclude."""
    if queue in written:
        return True
    if any(name.startswith(EXCLUDE) and fnmatchcase(queue, name[1:]) for name in written):
        return False
    return any(fnmatchcase(queue, name) for name in written if is_pattern(name) and not name.startswith(EXCLUDE))


def expand(written: Sequence[str], known: Iterable[str]) -> list[tuple[str, str]]:
    """Each queue that is taken with the entry that it comes from: names as written, patterns by the ``known`` queues.

    A queue stands once, where it is written first; those of one pattern by name.
    """
    names = sorted(set(known))
    found: dict[str, str] = {}
    for entry in written:
        if not is_pattern(entry):
            found.setdefault(entry, entry)
        elif not entry.startswith(EXCLUDE):
            for name in names:
                if name not in written and fnmatchcase(name, entry) and takes(written, name):
                    found.setdefault(name, entry)
    return list(found.items())
