"""What happens when, by seed alone: the same seed brings the same strokes on the same slots in the same order.

Times are as exact as a loaded machine is; what the workers do in between is theirs.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

T = TypeVar("T")


class What(Enum):
    """A stroke. The first group hits a worker, the second one its network or a producer, the third one Redis."""

    KILL = "SIGKILL"
    TERM = "SIGTERM"
    TERM_AND_KILL = "SIGTERM, then SIGKILL"
    QUIET_AND_TERM = "SIGTSTP, then SIGTERM"
    STOP = "SIGSTOP, later SIGCONT"
    STOP_AND_KILL = "SIGSTOP, then SIGKILL"

    CUT = "connections cut"
    LOSE = "answer lost"
    SLOW = "network slow"
    SILENT = "network silent"
    KILL_PRODUCER = "SIGKILL of a producer"
    CUT_PRODUCER = "producer's answer lost"

    REDIS_KILL = "Redis SIGKILL"
    REDIS_SHUTDOWN = "Redis SHUTDOWN"
    REDIS_STOP = "Redis SIGSTOP"
    REDIS_PAUSE = "CLIENT PAUSE"


class Heir(Enum):
    """Who brings the jobs of a dead worker back."""

    ITSELF = "the next life of the same identity"
    OPERATOR = "somebody who knows that the process is gone"
    OTHERS = "the other workers, by the heartbeat"


@dataclass(frozen=True, slots=True)
class Stroke:
    """``after`` seconds behind the stroke before it; ``slot`` counts modulo what there is; ``seconds`` it lasts."""

    after: float
    what: What
    slot: int
    seconds: float = 0.0
    heir: Heir = Heir.OTHERS


def on_workers(seed: int, per_second: float) -> Iterator[Stroke]:
    """Strokes on processes of workers, without end."""
    chance = random.Random(f"{seed}-workers")
    kinds = {
        What.KILL: 84, What.TERM_AND_KILL: 4, What.TERM: 4, What.QUIET_AND_TERM: 2, What.STOP: 4, What.STOP_AND_KILL: 2,
    }  # fmt: skip
    while True:
        what = _chosen(chance, kinds)
        match what:
            case What.STOP:
                # Shorter than a heartbeat lives, about as long, and much longer.
                seconds = chance.choice((0.3, 2.0, 5.0, 9.0)) * chance.uniform(0.8, 1.2)
            case What.TERM | What.KILL:
                seconds = 0.0
            case _:
                seconds = chance.uniform(0.0, 1.5)
        heir = _chosen(chance, {Heir.ITSELF: 4, Heir.OPERATOR: 4, Heir.OTHERS: 2})
        yield Stroke(chance.expovariate(per_second), what, chance.randrange(1 << 16), seconds, heir)


def on_networks(seed: int, per_second: float) -> Iterator[Stroke]:
    """Strokes on connections and producers, without end."""
    chance = random.Random(f"{seed}-networks")
    kinds = {
        What.CUT: 25, What.LOSE: 35, What.SLOW: 8, What.SILENT: 5, What.KILL_PRODUCER: 7, What.CUT_PRODUCER: 20,
    }  # fmt: skip
    while True:
        what = _chosen(chance, kinds)
        seconds = {What.SLOW: chance.uniform(0.5, 4), What.SILENT: chance.uniform(0.5, 9)}.get(what, 0.0)
        yield Stroke(chance.expovariate(per_second), what, chance.randrange(1 << 16), seconds)


def on_redis(seed: int, every: float) -> Iterator[Stroke]:
    """Strokes on Redis itself, without end."""
    chance = random.Random(f"{seed}-redis")
    kinds = {What.REDIS_KILL: 5, What.REDIS_SHUTDOWN: 2, What.REDIS_STOP: 2, What.REDIS_PAUSE: 2}
    while True:
        what = _chosen(chance, kinds)
        seconds = chance.choice((0.0, 0.5, 2.0, 2.0, 7.0)) * chance.uniform(0.8, 1.2)
        yield Stroke(every * chance.uniform(0.6, 1.4), what, 0, seconds)


def _chosen(chance: random.Random, kinds: dict[T, int]) -> T:
    names: Sequence[T] = list(kinds)
    return chance.choices(names, weights=list(kinds.values()))[0]
