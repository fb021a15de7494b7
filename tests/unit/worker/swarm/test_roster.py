"""What the parent of several processes decides, by a clock that the test turns."""

from __future__ import annotations

import signal

from jobworker.swarm.messages import Report
from jobworker.swarm.numbers import MOST_CHILDREN, first_number, owner
from jobworker.swarm.roster import SILENT_SECONDS, SPOKESMAN, STARTS, Child, Kill, Recycle, Roster, Start

SHUTDOWN_SECONDS = 25.0
LIMIT_KB = 1000


def born(roster: Roster, now: float) -> list[Child]:
    return [roster.born(step, now) for step in list(roster.due(now)) if isinstance(step, Start)]


def ready(roster: Roster, now: float, *children: Child, load: int = 0, rss_kb: int = 10) -> None:
    for child in children:
        roster.heard(child, now, ready=True, report=Report(load, ready=True, quiet=False, rss_kb=rss_kb))


def roster_of(processes: int = 2, limit_kb: int = 0) -> tuple[Roster, Child, list[Child]]:
    roster = Roster(processes, SHUTDOWN_SECONDS, limit_kb)
    speaker, *workers = born(roster, 0)
    roster.heard(speaker, 0, ready=True)
    ready(roster, 0, *workers)
    return roster, speaker, workers


def test_one_process_speaks_and_as_many_as_asked_for_run_jobs() -> None:
    roster, speaker, workers = roster_of(3)
    assert (speaker.place, [worker.place for worker in workers]) == (SPOKESMAN, [1, 2, 3])
    assert list(roster.due(1)) == []
    assert roster.roll().living == tuple(worker.number for worker in workers)


def test_a_dead_process_is_replaced_at_once_by_one_with_a_number_of_its_own() -> None:
    roster, _, (first, second) = roster_of()
    assert roster.ended(first, -signal.SIGKILL, 5) is None
    assert first.number not in roster.roll().living
    (replacement,) = born(roster, 5)
    assert replacement.place == first.place
    assert replacement.number > second.number


def test_a_process_that_dies_again_and_again_is_replaced_less_and_less_often() -> None:
    roster, _, (child, _) = roster_of()
    now, waits = 0.0, []
    for _ in range(5):
        roster.ended(child, 1, now)
        died = now
        while not (replacements := born(roster, now)):
            now += 0.25
        waits.append(now - died)
        child = replacements[0]
        ready(roster, now, child)
        roster.heard(next(iter(roster.children.values())), now, ready=True)
    assert waits == [0, 0.5, 1, 2, 4]
    # Who lived for long enough was well, and its successor need not wait.
    roster.ended(child, 1, now + 100)
    assert born(roster, now + 100)


def test_a_silent_process_is_killed_unless_the_parent_itself_stood_still() -> None:
    roster, speaker, (first, second) = roster_of()
    late = SILENT_SECONDS + 1
    ready(roster, late, second)
    roster.heard(speaker, late, ready=True)
    assert [step.child for step in roster.due(late) if isinstance(step, Kill)] == [first]
    roster.forgive(late)
    assert list(roster.due(late)) == []


def test_processes_over_their_memory_are_replaced_one_at_a_time_and_not_in_a_loop() -> None:
    roster, _, (first, second) = roster_of(limit_kb=LIMIT_KB)
    ready(roster, 1, first, second, load=1, rss_kb=LIMIT_KB + 1)
    (step,) = roster.due(1)
    assert isinstance(step, Recycle)
    assert step.child is first
    roster.recycled(first, 1)
    (replacement,) = born(roster, 1)
    assert (replacement.place, first.number in roster.roll().living) == (first.place, True)
    assert list(roster.due(2)) == []
    assert roster.ended(first, 0, 10) is None
    ready(roster, 10, replacement, rss_kb=LIMIT_KB + 1)
    (step,) = roster.due(10)
    assert isinstance(step, Recycle)
    assert step.child is second
    roster.recycled(second, 10)
    (other,) = born(roster, 10)
    roster.ended(second, 0, 11)
    ready(roster, 11, other)
    assert list(roster.due(11)) == [], "the first place was recycled just now"


def test_a_pod_whose_processes_never_come_up_gives_up_with_a_reason() -> None:
    roster = Roster(1, SHUTDOWN_SECONDS)
    speaker, child = born(roster, 0)
    now, why = 0.0, None
    for attempt in range(1, STARTS + 1):
        roster.heard(speaker, now, ready=True)
        why = roster.ended(child, 1, now)
        assert (why is not None) == (attempt == STARTS)
        now += 20
        if why is None:
            (child,) = born(roster, now)
    roster.stop(now)
    assert roster.exit_code == 1


def test_a_pod_that_stops_starts_nobody_but_who_says_goodbye() -> None:
    roster, speaker, (first, second) = roster_of()
    roster.stop(1)
    roster.ended(first, 0, 2)
    roster.ended(speaker, -signal.SIGKILL, 2)
    assert [child.place for child in born(roster, 2)] == [SPOKESMAN]
    roster.ended(second, 0, 3)
    roster.finishing = True
    before = roster.over
    roster.ended(next(iter(roster.children.values())), 0, 3)
    assert (before, roster.over, roster.exit_code) == (False, True, 0)


def test_who_does_not_end_in_its_time_is_killed_and_the_exit_code_says_that_jobs_were_cut() -> None:
    roster, speaker, (first, second) = roster_of()
    roster.stop(1)
    end = 1 + SHUTDOWN_SECONDS + 5
    ready(roster, end, first, second, load=1)
    roster.heard(speaker, end, ready=True)
    kills = [step.child for step in roster.due(end) if isinstance(step, Kill)]
    assert kills == [first, second]
    for child in kills:
        child.killed = True
        roster.ended(child, -signal.SIGKILL, end)
    assert roster.exit_code == 3


def test_a_second_signal_leaves_no_time() -> None:
    roster, speaker, workers = roster_of()
    roster.stop(1)
    roster.stop(2)
    ready(roster, 7, *workers, load=1)
    roster.heard(speaker, 7, ready=True)
    assert len([step for step in roster.due(7) if isinstance(step, Kill)]) == 2


def test_the_pod_is_ready_when_each_place_was_and_while_any_is() -> None:
    roster = Roster(2, SHUTDOWN_SECONDS)
    _, first, second = born(roster, 0)
    ready(roster, 0, first)
    assert not roster.roll().ready
    ready(roster, 1, second)
    assert roster.roll().ready
    roster.ended(first, 1, 2)
    assert roster.roll().ready
    roster.ended(second, 1, 2)
    assert not roster.roll().ready


def test_numbers_of_jobs_tell_whose_they_are_for_as_long_as_doubles_can_count() -> None:
    last = MOST_CHILDREN - 1
    assert [owner(number) for number in (first_number(1), first_number(2) - 2, first_number(last))] == [1, 1, last]
    assert first_number(MOST_CHILDREN) - 1 == 2**53
