from __future__ import annotations

import pytest

from jobworker.iteration.progress import JobProgress


def test_snapshot_holds_what_came_since_the_last_written_one() -> None:
    progress = JobProgress()
    progress.error("no name", "no age")
    progress.advance()
    progress.advance()
    first = progress.snapshot()
    assert (first.processed, first.failed, first.rows) == (2, 1, (1, 2))
    assert first.errors == ((1, ("no name", "no age")),)
    progress.written(first)
    progress.advance()
    second = progress.snapshot()
    assert (second.processed, second.rows, second.errors) == (3, (3,), ())


def test_snapshot_that_was_not_written_is_told_again() -> None:
    progress = JobProgress()
    progress.error("bad")
    progress.advance()
    progress.snapshot()
    progress.advance()
    assert progress.snapshot().rows == (1, 2)
    assert progress.snapshot().errors == ((1, ("bad",)),)


def test_error_that_came_while_the_snapshot_travelled_is_in_the_next_one() -> None:
    progress = JobProgress()
    progress.error("one")
    snapshot = progress.snapshot()
    progress.error("two")
    progress.written(snapshot)
    assert progress.snapshot().errors == ((1, ("one", "two")),)


def test_row_walked_again_after_a_crash_keeps_its_other_errors_and_none_twice() -> None:
    progress = JobProgress(4, {5: ("known",)})
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
