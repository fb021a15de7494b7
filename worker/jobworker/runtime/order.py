"""In which order a take asks the queues."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import assert_never

from jobworker.runtime.settings import Order, QueueWeight


def queue_order(
    queues: Sequence[QueueWeight], order: Order, chance: Callable[[], float] = random.random
) -> Callable[[], Sequence[str]]:
    """A function that gives the order for the next take.

    By weight, each queue draws ``chance ** (1 / weight)`` and the highest goes first: the probability to be first is
    the queue's share of all weights, and no queue is left out (Efraimidis and Spirakis, 2006).
    """
    names = tuple(queue.name for queue in queues)
    match order:
        case Order.STRICT:
            return lambda: names
        case Order.WEIGHTED:
            if len(names) == 1:
                return lambda: names
            exponents = [(queue.name, 1 / queue.weight) for queue in queues]
            return lambda: [name for _, name in sorted(((chance() ** e, n) for n, e in exponents), reverse=True)]
        case _:
            assert_never(order)
