"""The demo's table cannot be all green when a number is wrong."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from examples.demo.verdict import Numbers, lines

GOOD = Numbers(
    rows=34_006,
    rows_done=34_006,
    rows_twice=0,
    rows_failed=75,
    errors=177,
    reports=4,
    reports_cut=0,
    deleted=8,
    deleted_while_holding=0,
    fewest_ready=3,
    longest_pause_seconds=0.1,
    rollout_seconds=30.0,
    bound_seconds=31.0,
    mails=1500,
    mails_sent=1500,
    mails_twice=0,
    most_replicas=8,
    replicas_at_rest=3,
    decision_seconds=0.7,
)


def test_the_numbers_of_a_good_run_are_good() -> None:
    assert [line.name for line in lines(GOOD) if not line.good] == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"rows_done": 34_005},
        {"rows_twice": 1},
        {"rows_failed": 0, "errors": 0},
        {"errors": 75},
        {"reports_cut": 1},
        {"deleted": 2},
        {"deleted_while_holding": 1},
        {"fewest_ready": 2},
        {"longest_pause_seconds": 6.0},
        {"rollout_seconds": 36.0},
        {"mails_sent": 1499},
        {"mails_twice": 1},
        {"most_replicas": 9},
        {"replicas_at_rest": 4},
        {"decision_seconds": 5.5},
    ],
    ids=str,
)
def test_each_wrong_number_makes_one_line_bad(wrong: dict[str, Any]) -> None:
    assert sum(not line.good for line in lines(replace(GOOD, **wrong))) == 1
