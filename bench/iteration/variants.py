"""The names of the bench's jobs, known to who runs them and to who enqueues them."""

from __future__ import annotations

from enum import Enum

BODIES = ("nothing", "spin", "sleep")
"""What is done with an item: nothing, a millisecond of CPU, or a wait of a millisecond."""


class Kind(Enum):
    """Of a function."""

    PLAIN = "plain"
    ASYNC = "async"


class Pace(Enum):
    """How often a checkpoint is written."""

    DEFAULT = "default"
    OFTEN = "often"
    EACH = "each"


PACES: dict[Pace, float | None] = {Pace.DEFAULT: None, Pace.OFTEN: 0.05, Pace.EACH: 0.0}
"""`checkpoint_seconds`; None leaves it as it is."""


def variant(body: str, kind: Kind, pace: Pace = Pace.DEFAULT) -> str:
    """The name of an iterating job."""
    return f"{body}-{kind.value}-{pace.value}"


def loop(body: str, kind: Kind) -> str:
    """The name of a job that is no iterating one, and does the same in a loop of its own."""
    return f"{body}-{kind.value}-loop"
