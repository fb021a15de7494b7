"""The checker of the chaos run: it sees what is lost, and accepts a repetition only for a cause that fits."""

from __future__ import annotations

from typing import Any

import pytest

from tests.chaos.checker import Checker
from tests.chaos.records import Record
from tests.chaos.story import tell


class Story:
    """Records, each a second later than the one before."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def note(self, event: str, life: str = "storm", **fields: Any) -> Story:
        self.records.append({"t": float(len(self.records)), "e": event, "life": life} | fields)
        return self

    def pushed(self, job: str = "quick_async", jid: str = "j") -> Story:
        self.note("push", "p", keys=["k"], job=job)
        return self.note("ack", "p", keys=["k"], jids=[jid])

    def ran(self, life: str, *ends: str, jid: str = "j", attempt: int = 1, t: float | None = None) -> Story:
        when = {} if t is None else {"t": t}
        for event in ("start", *ends):
            self.note(event, life, key="k", jid=jid, attempt=attempt, **when)
        return self

    def unclean(self, life: str, *jids: str, why: str = "killed") -> Story:
        now = len(self.records)
        return self.note("unclean", who=life, why=why, jids=list(jids), since=now - 0.1, until=now + 0.1)

    def walked(self, life: str, at: int, *rows: int, apart: float = 0.1, total: int = 10) -> Story:
        began = self.records[-1]["t"] + 1
        self.records.append({"t": began, "e": "walk", "life": life, "key": "k", "jid": "j", "at": at, "of": total})
        for place, row in enumerate(rows):
            when = began + apart * (place + 1)
            self.records.append({"t": when, "e": "item", "life": life, "key": "k", "jid": "j", "item": row})
        return self

    def violations(self) -> list[str]:
        return [found.what for found in Checker(self.records).judge().violations]


def test_job_that_ran_once_is_fine() -> None:
    assert Story().pushed().ran("a", "done").violations() == []


def test_job_that_was_acknowledged_and_never_ran_is_lost() -> None:
    assert Story().pushed().violations() == ["acknowledged to its producer, and lost"]


def test_job_that_began_and_was_not_heard_of_again_is_lost_though_its_worker_was_killed() -> None:
    assert Story().pushed().ran("a").unclean("a", "j").violations() == ["acknowledged to its producer, and lost"]


def test_push_that_was_never_acknowledged_may_be_lost() -> None:
    assert Story().note("push", "p", keys=["k"], job="quick_async").violations() == []


def test_job_runs_again_after_its_holder_was_killed() -> None:
    verdict = Checker(Story().pushed().ran("a", "done").unclean("a", "j").ran("b", "done").records).judge()
    assert verdict.violations == []
    assert verdict.repeated == {"killed": 1}


@pytest.mark.parametrize(
    "story",
    [
        pytest.param(Story().pushed().ran("a", "done").ran("b", "done"), id="for no reason"),
        pytest.param(
            Story().pushed().ran("a", "done").unclean("a", "other").ran("b", "done"), id="the dead one held another job"
        ),
        pytest.param(
            Story().pushed().ran("a", "done").unclean("c", "j").ran("b", "done"), id="another process died"
        ),
        pytest.param(
            Story().pushed().ran("a", "done").unclean("b", "j").ran("a", "done"), id="it died before the run began"
        ),
        pytest.param(Story().pushed().ran("a", "fail").ran("b", "fail").ran("b", "done", attempt=2), id="a try twice"),
    ],
)  # fmt: skip
def test_job_that_ran_twice_without_a_cause_that_fits_is_found(story: Story) -> None:
    assert any("ran to its end 2 times" in found for found in story.violations())


def test_stopped_worker_may_start_what_waited_for_it_as_it_awakes_and_not_later() -> None:
    stopped: dict[str, Any] = {"who": "a", "why": "stopped", "jids": ["j"], "since": 2.0, "until": 4.0}
    for began, fine in ((4.5, True), (9.0, False)):
        story = Story().pushed().ran("b", "done").note("unclean", t=4.0, **stopped)
        story.ran("a", "done", t=began)
        assert (story.violations() == []) is fine
    killed = Story().pushed().ran("b", "done").note("unclean", t=4.0, **{**stopped, "why": "killed"})
    assert killed.ran("a", "done", t=4.5).violations() != []


def test_walk_that_a_stopped_worker_begins_as_it_awakes_counts_only_if_it_goes_on() -> None:
    stopped: dict[str, Any] = {"who": "a", "why": "stopped", "jids": ["j"], "since": 0.5, "until": 12.0}
    for apart, fine in ((0.1, True), (0.9, False)):
        story = Story().pushed("Walk").walked("b", 0, *range(10)).note("complete", "b", t=4.0, jid="j")
        story.note("unclean", t=12.0, **stopped).walked("a", 0, *range(5), apart=apart)
        assert (story.violations() == []) is fine


def test_job_that_ends_nowhere_is_found_though_another_push_of_it_ran() -> None:
    story = Story().pushed().ran("a").ran("b", "done")
    assert story.violations() == ["began in a and did not end, and no cause is known"]


def test_push_in_doubt_may_run_twice_but_not_more_often_than_it_was_pushed() -> None:
    story = Story().note("push", "p", keys=["k"], job="quick_async").pushed(jid="j2").ran("a", "done").ran(
        "a", "done", jid="j2"
    )  # fmt: skip
    verdict = Checker(story.records).judge()
    assert (verdict.violations, verdict.repeated) == ([], {"push in doubt, made again": 1})
    assert story.ran("a", "done", jid="j3").violations() == ["pushed 2 times, and there are 3 jobs of it"]


def test_job_that_was_cut_runs_again_only_if_it_had_not_ended_before_the_signal() -> None:
    cut: dict[str, Any] = {"who": "a", "why": "cut at shutdown", "jids": None}
    story = Story().pushed().ran("a").note("unclean", **cut, since=3.0, until=5.0).ran("b", "done")
    assert story.violations() == []
    late = Story().pushed().ran("a", "done").note("unclean", **cut, since=5.0, until=6.0).ran("b", "done")
    assert any("ran to its end 2 times" in found for found in late.violations())


def test_poison_needs_as_many_deaths_as_it_claims() -> None:
    burial: dict[str, Any] = {"jid": "j", "error": "Poison", "message": "", "deaths": 3}
    story = Story().pushed()
    for life in ("a", "b"):
        story.ran(life).unclean(life, "j")
    two = Story()
    two.records = [*story.records]
    assert two.note("buried", **burial).ran("d", "done").violations() == [
        "buried as poison after 3 deaths, of which 2 are known"
    ]
    assert story.ran("c").unclean("c", "j").note("buried", **burial).ran("d", "done").violations() == []


def test_worker_that_ends_by_itself_is_found() -> None:
    assert Story().note("over", who="a", code=1).violations() == ["a ended by itself with code 1"]


def test_walk_may_repeat_what_lies_between_two_checkpoints_after_a_crash_and_no_more() -> None:
    story = Story().pushed("Walk").walked("a", 0, *range(8)).unclean("a", "j")
    assert story.walked("b", 2, *range(2, 10)).note("complete", "b", jid="j").violations() == []
    slow = Story().pushed("Walk").walked("a", 0, *range(8), apart=0.5).unclean("a", "j")
    slow.walked("b", 2, *range(2, 10)).note("complete", "b", jid="j")
    assert [found[:26] for found in slow.violations()] == ["6 rows of 2.50 s in a ran "]
    assert slow.note("away", since=3.0, until=4.0).violations() == [], "a checkpoint may fail while Redis is away"


def test_walk_repeats_nothing_without_a_crash() -> None:
    story = (
        Story().pushed("Walk").walked("a", 0, *range(5)).walked("b", 4, *range(4, 10)).note("complete", "b", jid="j")
    )
    assert story.violations() == ["1 rows of a ran again from 4 on, and no cause is known"]


def test_row_that_was_skipped_is_found() -> None:
    story = Story().pushed("Walk").walked("a", 0, 0, 1, 2).walked("b", 4, *range(4, 10)).note("complete", "b", jid="j")
    assert story.violations() == [
        "b went on at row 4, and the row before it never ran",
        "complete, and 1 of its rows never ran",
    ]


def test_worker_that_goes_on_with_a_job_of_somebody_else_is_found() -> None:
    story = Story().pushed("Walk").unclean("a", "j", why="stopped")
    story.records.append({"t": 0.5, "e": "walk", "life": "a", "key": "k", "jid": "j", "at": 0, "of": 2})
    story.records.sort(key=lambda record: float(record["t"]))
    story.walked("b", 0, 0, 1).note("complete", "b", jid="j")
    story.records.append({"t": 60.0, "e": "item", "life": "a", "key": "k", "jid": "j", "item": 0})
    assert story.violations() == ["a went on for 3.0 s with a job that had a new holder"]


def test_story_tells_what_happened_to_a_job_in_order() -> None:
    story = Story().pushed().ran("a").unclean("a", "j", "other").ran("b", "done")
    lines = tell(story.records, "k", 0.0).splitlines()
    assert [line.split()[2] for line in lines] == ["push", "ack", "start", "unclean", "start", "done"]
    assert "jids=['j']" in lines[3]
