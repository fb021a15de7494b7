from __future__ import annotations

import random
from collections import Counter

import pytest

from jobworker.errors import ConfigurationError
from jobworker.runtime.order import QueueOrder
from jobworker.runtime.settings import Order, QueueWeight, parse_queues


def test_queues_are_read_with_their_weights() -> None:
    assert parse_queues(" critical,5  default ") == (QueueWeight("critical", 5), QueueWeight("default", 1))


@pytest.mark.parametrize("text", ["", "  ", ",3", "a,0", "a,101", "a,x", "a,", "a,1,2", "a a", "a,²"])
def test_queues_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(ConfigurationError):
        parse_queues(text)


@pytest.mark.parametrize("text", ["5 mails", "mails 5", "5"])
def test_number_where_a_queue_was_expected_is_told_and_how_to_mean_it(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"'5' is a number where a queue was expected.*mails,5.*5,1"):
        parse_queues(text)
    assert parse_queues("mails,5 5,1") == (QueueWeight("mails", 5), QueueWeight("5", 1))


def test_strict_order_is_always_as_written() -> None:
    order = QueueOrder(parse_queues("a,1 b,100 c"), Order.STRICT)
    assert {tuple(order()) for _ in range(50)} == {("a", "b", "c")}


def test_weights_are_the_chances_to_be_first_and_no_queue_is_left_out() -> None:
    chance = random.Random(7).random
    order = QueueOrder(parse_queues("a,6 b,3 c,1"), Order.WEIGHTED, chance)
    draws = [tuple(order()) for _ in range(20_000)]
    assert all(sorted(draw) == ["a", "b", "c"] for draw in draws)
    first = Counter(draw[0] for draw in draws)
    assert first["a"] / 20_000 == pytest.approx(0.6, abs=0.02)
    assert first["b"] / 20_000 == pytest.approx(0.3, abs=0.02)
    assert first["c"] / 20_000 == pytest.approx(0.1, abs=0.02)


def test_patterns_take_what_exists_and_leave_out_what_is_excluded() -> None:
    order = QueueOrder(parse_queues("critical mail_* !mail_bulk !*_old"), Order.STRICT)
    assert list(order()) == ["critical"]
    assert order.learn(["mail_b", "mail_a", "mail_bulk", "mail_old", "reports", "critical"])
    assert list(order()) == ["critical", "mail_a", "mail_b"]
    assert not order.learn(["mail_a", "mail_b"])


def test_a_queue_by_pattern_has_the_weight_of_its_pattern() -> None:
    draws = iter([0.5, 0.5, 0.5])
    order = QueueOrder(parse_queues("a*,1 b*,100"), Order.WEIGHTED, lambda: next(draws))
    order.learn(["a1", "b1", "b2"])
    assert list(order()) == ["b2", "b1", "a1"]


def test_a_name_that_is_written_stands_above_patterns_and_excludes() -> None:
    order = QueueOrder(parse_queues("* !mail* mail_vip"), Order.STRICT)
    order.learn(["x", "mail_vip", "mail_bulk"])
    assert list(order()) == ["x", "mail_vip"]


@pytest.mark.parametrize(
    ("text", "message"),
    [("!a", "only leaves queues out"), ("* !", "names no queue"), ("* !a,3", "left out has no weight")],
)
def test_patterns_that_cannot_work_are_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        parse_queues(text)
