from __future__ import annotations

import random
from collections import Counter

import pytest

from jobworker.errors import ConfigurationError
from jobworker.runtime.order import queue_order
from jobworker.runtime.settings import Order, QueueWeight, parse_queues


def test_queues_are_read_with_their_weights() -> None:
    assert parse_queues(" critical,5  default ") == (QueueWeight("critical", 5), QueueWeight("default", 1))


@pytest.mark.parametrize("text", ["", "  ", ",3", "a,0", "a,101", "a,x", "a,", "a,1,2", "a a", "a,²"])
def test_queues_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(ConfigurationError):
        parse_queues(text)


def test_strict_order_is_always_as_written() -> None:
    order = queue_order(parse_queues("a,1 b,100 c"), Order.STRICT)
    assert {tuple(order()) for _ in range(50)} == {("a", "b", "c")}


def test_weights_are_the_chances_to_be_first_and_no_queue_is_left_out() -> None:
    chance = random.Random(7).random
    order = queue_order(parse_queues("a,6 b,3 c,1"), Order.WEIGHTED, chance)
    draws = [tuple(order()) for _ in range(20_000)]
    assert all(sorted(draw) == ["a", "b", "c"] for draw in draws)
    first = Counter(draw[0] for draw in draws)
    assert first["a"] / 20_000 == pytest.approx(0.6, abs=0.02)
    assert first["b"] / 20_000 == pytest.approx(0.3, abs=0.02)
    assert first["c"] / 20_000 == pytest.approx(0.1, abs=0.02)
