"""How the command line shows things: tables, times in words, and bytes of strangers made harmless."""

from __future__ import annotations

import math
import re
import sys
import time

import click
import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jobworker.protocol.job_sets import Found

TOO_DEEP = "nested too deep to be shown"

_PIPED_WIDTH = 240  # columns where no terminal says its own: a line for each row, for grep
_ARGUMENTS = 60  # characters of arguments in a table
_UNITS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))
_LONGEST = 1e9  # seconds, thirty years: what is longer is a slip of the keyboard


def console() -> Console:
    """Standard output, plain and wide where it is no terminal."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else _PIPED_WIDTH)


def table(*columns: str, numbers: tuple[str, ...] = ()) -> Table:
    """A table with these headings; those among ``numbers`` are aligned to the right."""
    shown = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        shown.add_column(column, justify="right" if column in numbers else "left", no_wrap=column == "id")
    return shown


def text(value: object, style: str = "", *, whole: bool = False) -> Text:
    """``value`` as it is: no markup in it is obeyed, and no control sequence reaches the terminal.

    In a row that is too long it is cut, unless it shall stay ``whole``.
    """
    harmless = "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(value))
    return Text(harmless, style=style, no_wrap=not whole, overflow="fold" if whole else "ellipsis")


def duration(seconds: float) -> str:
    """``0.4 s``, ``12 s``, ``4m 10s``, ``3h 2m``, ``5d 4h``."""
    if seconds < 10:  # noqa: PLR2004  # below, a tenth can be told from none
        return f"{seconds:.1f} s"
    if seconds < 60:  # noqa: PLR2004  # a minute
        return f"{seconds:.0f} s"
    left = round(seconds)
    parts = []
    for unit, size in _UNITS:
        if left >= size:
            parts.append(f"{left // size}{unit}")
            left %= size
    return " ".join(parts[:2])


def ago(moment: float | None, now: float | None = None) -> str:
    """``4m 10s ago`` or ``in 12 s``; a dash where nobody knows."""
    if moment is None or not math.isfinite(moment):
        return "-"
    seconds = moment - (time.time() if now is None else now)
    return f"in {duration(seconds)}" if seconds > 0 else f"{duration(-seconds)} ago"


def seconds_of(written: str) -> float:
    """``90``, ``90s``, ``10m``, ``1h30m``, ``2d`` in seconds; a type of click's options.

    Raises:
        click.BadParameter: it is no length of time.
    """
    clean = written.strip().lower()
    sizes = dict(_UNITS)
    seconds = 0.0
    if re.fullmatch(r"\d+(\.\d+)?", clean):
        seconds = float(clean)
    elif re.fullmatch(r"(\d+[dhms])+", clean):
        seconds = float(sum(int(number) * sizes[unit] for number, unit in re.findall(r"(\d+)([dhms])", clean)))
    if not 0 < seconds < _LONGEST:
        raise click.BadParameter(f"{written!r} is no length of time; write for example 90s, 10m, 1h30m or 2d")
    return seconds


def job_name(found: Found) -> Text:
    """Its class, or that it cannot be read."""
    return text("unreadable", "red") if found.job is None else text(found.job.job_class)


def arguments(found: Found, *, whole: bool = False) -> Text:
    """Its arguments as JSON, cut unless they shall stay ``whole``; where it cannot be read, what is wrong with it."""
    if found.job is None:
        return text(found.problem, "red", whole=whole)
    try:
        written = orjson.dumps(found.job.args).decode()[1:-1]
    except orjson.JSONEncodeError:
        return text(TOO_DEEP, "red")
    return text(written if whole else cut(written), whole=whole)


def cut(long: str, length: int = _ARGUMENTS) -> str:
    """At most ``length`` characters of it."""
    return long if len(long) <= length else long[: length - 1] + "…"


def jobs_in_words(count: int) -> str:
    """``1 job``, ``2 jobs``."""
    return "1 job" if count == 1 else f"{count:,} jobs"
