"""What was written counts as not done until the watch shows it."""

from __future__ import annotations

import dataclasses

from jobworker_operator.act.expectations import DOUBTFUL_SECONDS, LOST_AFTER_SECONDS, Expectations, Shows
from jobworker_operator.model.facts import PodFacts, Removal
from jobworker_operator.model.spec import Key

KEY = Key("shop", "mailers")
POD = PodFacts(uid="u", name="p", revision="r", resource_version="1", created_at=0)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_created_pod_unsettles_until_the_watch_shows_it() -> None:
    expectations = Expectations(Clock())
    expectations.expect(KEY, "u", Shows.THERE, None)
    assert expectations.unsettled_seconds(KEY) == LOST_AFTER_SECONDS
    expectations.observed(KEY, "other", POD)
    assert expectations.unsettled_seconds(KEY) is not None
    expectations.observed(KEY, "u", POD)
    assert expectations.unsettled_seconds(KEY) is None


def test_a_pod_that_was_shown_before_its_create_was_answered_does_not_unsettle() -> None:
    expectations = Expectations(Clock())
    expectations.expect(KEY, "u", Shows.THERE, POD)
    assert expectations.unsettled_seconds(KEY) is None


def test_a_deleted_pod_unsettles_until_it_is_shown_terminating_or_gone() -> None:
    for shown in (dataclasses.replace(POD, terminating=True), None):
        expectations = Expectations(Clock())
        expectations.expect(KEY, "u", Shows.GOING, POD)
        expectations.observed(KEY, "u", POD)
        assert expectations.unsettled_seconds(KEY) is not None
        expectations.observed(KEY, "u", shown)
        assert expectations.unsettled_seconds(KEY) is None


def test_an_annotated_pod_unsettles_until_the_annotation_is_shown() -> None:
    expectations = Expectations(Clock())
    expectations.expect(KEY, "u", Shows.MARKED, POD)
    assert expectations.unsettled_seconds(KEY) is not None
    expectations.observed(KEY, "u", dataclasses.replace(POD, removal=Removal("Rollout", 0)))
    assert expectations.unsettled_seconds(KEY) is None


def test_a_lost_event_unsettles_for_half_a_minute_and_no_longer() -> None:
    clock = Clock()
    expectations = Expectations(clock)
    expectations.expect(KEY, "u", Shows.THERE, None)
    clock.now += LOST_AFTER_SECONDS - 1
    assert expectations.unsettled_seconds(KEY) == 1
    clock.now += 1
    assert expectations.unsettled_seconds(KEY) is None


def test_a_create_without_an_answer_unsettles_whatever_the_watch_shows() -> None:
    clock = Clock()
    expectations = Expectations(clock)
    expectations.doubt(KEY)
    expectations.observed(KEY, "u", POD)
    assert expectations.unsettled_seconds(KEY) == DOUBTFUL_SECONDS
    clock.now += DOUBTFUL_SECONDS
    assert expectations.unsettled_seconds(KEY) is None


def test_one_jobworker_does_not_unsettle_another() -> None:
    expectations = Expectations(Clock())
    expectations.expect(KEY, "u", Shows.THERE, None)
    assert expectations.unsettled_seconds(Key("shop", "other")) is None
