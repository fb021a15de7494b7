from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.tool.errors import ClusterError, ComponentError, MissingProgramError
from tests.cluster.tool.processes import ProcessRecord, read_records, require, run, start_ticks


def record_of(pid: int, ticks: int) -> ProcessRecord:
    return ProcessRecord(component="etcd", pid=pid, start_ticks=ticks, log="/logs/etcd.log")


def stat_line(name: str, state: str, started: int) -> str:
    between = " ".join(["0"] * 18)
    return f"7 ({name}) {state} {between} {started} 0 0"


def own_ticks() -> int:
    ticks = start_ticks(os.getpid())
    assert ticks is not None
    return ticks


def test_process_with_its_recorded_start_time_is_alive() -> None:
    assert record_of(os.getpid(), own_ticks()).alive


def test_pid_that_another_process_got_meanwhile_is_not_taken_for_ours() -> None:
    assert not record_of(os.getpid(), own_ticks() - 1).alive


def test_signal_never_reaches_a_process_that_only_has_the_pid() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as innocent:
        ticks = start_ticks(innocent.pid)
        assert ticks is not None
        with pytest.raises(ClusterError, match="has ended"):
            record_of(innocent.pid, ticks - 1).signal(signal.SIGKILL)
        innocent.communicate(b"\n")
    assert innocent.returncode == 0


@pytest.mark.parametrize("name", ["sleep", "a b", "x) R 1 (y"])
def test_start_time_is_read_whatever_the_program_is_called(tmp_path: Path, name: str) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "stat").write_text(stat_line(name, "S", 4711))
    assert start_ticks(7, proc=tmp_path) == 4711


@pytest.mark.parametrize("state", ["Z", "X"])
def test_dead_process_that_nobody_waited_for_has_no_start_time(tmp_path: Path, state: str) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "stat").write_text(stat_line("sleep", state, 4711))
    assert start_ticks(7, proc=tmp_path) is None


def test_missing_process_has_no_start_time(tmp_path: Path) -> None:
    assert start_ticks(7, proc=tmp_path) is None


def test_records_are_read_back_as_written(tmp_path: Path) -> None:
    written = record_of(7, 4711)
    written.write(tmp_path / "processes")
    assert read_records(tmp_path / "processes") == {"etcd": written}


def test_half_written_record_of_a_crash_is_not_read(tmp_path: Path) -> None:
    (tmp_path / ".etcd").write_text('{"component": "et')
    assert read_records(tmp_path) == {}


def test_missing_program_is_reported_with_the_command_that_installs_it() -> None:
    with pytest.raises(MissingProgramError, match="scripts/bootstrap cluster"):
        require("no-such-program-anywhere")


def test_failed_command_is_reported_with_what_it_said() -> None:
    with pytest.raises(ClusterError, match=r"failed with 3:\nno room"):
        run(["sh", "-c", "echo no room >&2; exit 3"])


def test_component_error_names_the_log_and_shows_its_end(tmp_path: Path) -> None:
    log = tmp_path / "etcd.log"
    log.write_text("\n".join(f"line {number}" for number in range(100)))
    message = str(ComponentError("etcd", "ended while starting", log))
    assert str(log) in message
    assert "line 99" in message
    assert "line 80" not in message


def test_component_error_of_a_program_that_wrote_nothing_says_so(tmp_path: Path) -> None:
    assert "never started" in str(ComponentError("etcd", "did not answer", tmp_path / "etcd.log"))
