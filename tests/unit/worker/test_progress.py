from __future__ import annotations

import pytest

from jobworker.iteration.progress import ROWS_EXPLAINED, JobProgress


def test_snapshot_holds_what_came_since_the_last_written_one() -> None:
    progress = JobProgress()
    progress.error("no name", "no age")
    progress.advance()
    progress.advance()
    first = progress.snapshot()
    assert (first.processed, first.failed, first.failed_rows) == (2, 1, ((0, b"\x02"),))
    assert first.errors == ((1, ("no name", "no age")),)
    progress.written(first)
    progress.advance()
    second = progress.snapshot()
    assert (second.processed, second.failed_rows, second.errors) == (3, (), ())


def test_snapshot_that_was_not_written_is_told_again() -> None:
    progress = JobProgress()
    progress.error("bad")
    progress.advance()
    progress.snapshot()
    progress.advance()
    assert progress.snapshot().processed == 2
    assert progress.snapshot().errors == ((1, ("bad",)),)


def test_error_that_came_while_the_snapshot_travelled_is_in_the_next_one() -> None:
    progress = JobProgress()
    progress.error("one")
    snapshot = progress.snapshot()
    progress.error("two")
    progress.written(snapshot)
    assert progress.snapshot().errors == ((1, ("one", "two")),)


def test_row_walked_again_after_a_crash_keeps_its_other_errors_and_none_twice() -> None:
    progress = JobProgress(4, 1, {5: ("known",)})
    progress.error("known", "new")
    assert progress.snapshot().errors == ((5, ("known", "new")),)
    assert progress.failed == 1


@pytest.mark.parametrize("row", [0, 3])
def test_row_that_was_not_reached_is_refused(row: int) -> None:
    progress = JobProgress(1)
    with pytest.raises(ValueError, match="rows 1 to 2"):
        progress.fail(row, "bad")
    with pytest.raises(ValueError, match="say what is wrong"):
        progress.fail(1)


def test_rows_beyond_the_bound_are_counted_once_each_and_their_messages_dropped() -> None:
    progress = JobProgress()
    for _ in range(ROWS_EXPLAINED + 50):
        progress.error("bad")
        progress.error("worse")
        progress.advance()
    progress.fail(3, "late")
    snapshot = progress.snapshot()
    assert progress.failed == snapshot.failed == ROWS_EXPLAINED + 50
    assert len(snapshot.errors) == ROWS_EXPLAINED
    assert snapshot.errors[2] == (3, ("bad", "worse", "late"))


def test_count_of_rows_beyond_the_bound_goes_on_where_a_crash_left_it() -> None:
    errors = dict.fromkeys(range(1, ROWS_EXPLAINED + 1), ("bad",))
    progress = JobProgress(ROWS_EXPLAINED + 20, ROWS_EXPLAINED + 7, errors)
    progress.error("bad")
    assert progress.failed == ROWS_EXPLAINED + 8


def test_messages_are_bounded_and_can_be_written() -> None:
    progress = JobProgress()
    progress.error("half \ud800 a pair", "x" * 5000, *[str(n) for n in range(500)])
    ((_, messages),) = progress.snapshot().errors
    assert messages[0] == "half ? a pair"
    assert len(messages[1]) == 1000
    assert len(messages) == 100


def test_rows_that_are_taken_back_are_no_rate_below_zero() -> None:
    progress = JobProgress(1_000)
    progress.measure(5.0)
    progress.take_back(400)
    progress.processed += 100
    progress.measure(15.0)
    assert progress.processed == 500
    assert progress.rate == pytest.approx(10.0)
