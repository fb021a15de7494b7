"""A pod that is deleted while its worker is still loading the application ends at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.waiting import wait_until_sync

APPLICATION = """
from pathlib import Path
import time
Path("loading").touch()
while not Path("go on").exists():
    time.sleep(0.05)
"""


def first_process_of(unshare: int) -> int | None:
    """The process that is number 1 in its own namespace, by its number outside."""
    children = Path(f"/proc/{unshare}/task/{unshare}/children").read_text().split()
    return int(children[0]) if children else None


def test_the_first_process_of_a_container_obeys_sigterm_while_it_loads(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(APPLICATION)
    rootless = [] if os.geteuid() == 0 else ["--map-root-user"]
    command = str(Path(sys.executable).parent / "jobworker")
    container = subprocess.Popen(
        ["unshare", *rootless, "--pid", "--fork", "--kill-child", command, "run", "slow:app"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])},
    )
    try:
        wait_until_sync((tmp_path / "loading").exists, 30)
        worker = first_process_of(container.pid)
        assert worker is not None
        os.kill(worker, signal.SIGTERM)
        assert container.wait(20) == 0
    finally:
        container.kill()
        container.wait()
