"""In which order a take asks the queues."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from typing import assert_never

from jobworker.protocol.queue_patterns import expand, is_pattern
from jobworker.runtime.settings import Order, QueueWeight


class QueueOrder:
    """Called for each take. By weight, each queue draws ``chance ** (1 / weight)`` and the highest goes first.

    The probability to be first is then the queue's share of all weights, and no queue is left out (Efraimidis and
    Spirakis, 2006). ``by_pattern``: some queues are named by pattern, and `learn` has to tell which there are.
    """

    def __init__(
        self, queues: Sequence[QueueWeight], order: Order, chance: Callable[[], float] = random.random
    ) -> None:
        self._written = [queue.name for queue in queues]
        self._weights = {queue.name: queue.weight for queue in queues}
        self._order = order
        self._chance = chance
        self._names: tuple[str, ...] = ()
        self._exponents: list[tuple[str, float]] = []
        self.by_pattern = any(map(is_pattern, self._written))
        self.learn(())

    def learn(self, known: Iterable[str]) -> bool:
        """These queues exist. Does that change which are taken?"""
        found = expand(self._written, known)
        names = tuple(name for name, _ in found)
        changed = names != self._names
        self._names = names
        self._exponents = [(name, 1 / self._weights[entry]) for name, entry in found]
        return changed

    def __call__(self) -> Sequence[str]:
        """Names in the order of the next take."""
        match self._order:
            case Order.STRICT:
                return self._names
            case Order.WEIGHTED:
                if len(self._names) < 2:  # noqa: PLR2004  # nothing to draw
                    return self._names
                chance = self._chance
                drawn = sorted(((chance() ** exponent, name) for name, exponent in self._exponents), reverse=True)
                return [name for _, name in drawn]
            case _:
                assert_never(self._order)
