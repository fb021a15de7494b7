"""The first pair of a walk is looked at closely, before anything is done with its item.

Only the first: what `build_enumerator` makes is of one kind, and millions of pairs come after it. A cursor that cannot
be written would otherwise be found behind the item, whose effect each further try of the job would repeat.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from jobworker.errors import ConfigurationError
from jobworker.iteration.cursors import written_cursor


def check_first(job: str, pair: Any) -> None:
    """Refuse what is no pair of an item and a cursor.

    Raises:
        ConfigurationError: it is none, or its cursor is not one that a next run would get back.
    """
    if isinstance(pair, tuple | list):
        if len(pair) != 2:  # noqa: PLR2004  # an item and its cursor
            raise _no_pair(job, pair, f"of {len(pair)} and not 2")
        written_cursor(job, pair[1])
    # A text of two characters, or an object of two names, would pass for a pair.
    elif isinstance(pair, str | bytes | bytearray | Mapping | AbstractSet) or not isinstance(pair, Iterable):
        raise _no_pair(job, pair, "")


def _no_pair(job: str, pair: Any, more: str) -> ConfigurationError:
    found = f"{type(pair).__name__} {more}".strip()
    return ConfigurationError(
        f"{job}.build_enumerator yielded {pair!r:.80} ({found}); it must yield pairs (item, cursor), as list_items and "
        "csv_rows do, where the cursor says from where the next run goes on"
    )
