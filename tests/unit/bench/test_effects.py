"""What the bench reads of the jobs' effects: a lost job must show, and one that ran twice too."""

from __future__ import annotations

from array import array
from pathlib import Path

from bench.worker.effects import Effects


def test_jobs_are_counted_over_processes(tmp_path: Path) -> None:
    (tmp_path / "seen-1").write_bytes(bytes([1, 0, 1, 0]))
    (tmp_path / "seen-2").write_bytes(bytes([0, 1, 0, 0]))
    (tmp_path / "seen-3").write_bytes(bytes(4))  # has run none yet
    effects = Effects(tmp_path, 4)
    assert sorted(effects.done_by_process()) == [1, 2]
    assert effects.done() == 3
    assert effects.runs() == (3, 0)


def test_a_job_that_ran_twice_does_not_stand_in_for_one_that_was_lost(tmp_path: Path) -> None:
    (tmp_path / "seen-1").write_bytes(bytes([2, 0, 1]))
    (tmp_path / "seen-2").write_bytes(bytes([0, 0, 1]))
    assert Effects(tmp_path, 3).runs() == (2, 2)


def test_a_file_that_is_being_made_is_read_the_next_time(tmp_path: Path) -> None:
    (tmp_path / "seen-1").write_bytes(b"")
    assert Effects(tmp_path, 3).done() == 0


def test_the_first_start_of_a_job_counts(tmp_path: Path) -> None:
    (tmp_path / "times-1").write_bytes(array("q", [50, 0, 70]).tobytes())
    (tmp_path / "times-2").write_bytes(array("q", [40, 0, 0]).tobytes())
    assert Effects(tmp_path, 3).started() == [40, 0, 70]


def test_a_new_round_forgets_the_one_before_and_nothing_else(tmp_path: Path) -> None:
    for name in ("seen-1", "times-1", "sent", "redis.log"):
        (tmp_path / name).write_bytes(bytes(3))
    Effects(tmp_path, 3).clear()
    assert [path.name for path in tmp_path.iterdir()] == ["redis.log"]
