"""Sidekiq's side of the tests: real Ruby processes, one that asks Sidekiq's API and ones that run jobs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

RUBY = Path(__file__).parent / "ruby"
MISSING = (
    "a real Sidekiq is not installed, and these tests are nothing without it: run `scripts/bootstrap ruby-sidekiq`"
)


def need_sidekiq() -> None:
    """Fail, rather than skip, where it is missing: a compatibility that nobody checks is none."""
    if shutil.which("ruby") is None or shutil.which("sidekiq") is None:
        pytest.fail(MISSING)


def environment(url: str, key_prefix: str = "") -> dict[str, str]:
    found = {**os.environ, "REDIS_URL": url}
    return {**found, "KEY_PREFIX": key_prefix} if key_prefix else found


class Console:
    """A Ruby process with Sidekiq's API: ``console("Sidekiq::Queue.new.size")``."""

    def __init__(self, url: str, log: Path, key_prefix: str = "") -> None:
        need_sidekiq()
        self._log = log
        self._errors = log.open("wb")
        self._process = subprocess.Popen(
            ["ruby", str(RUBY / "console.rb")],
            env=environment(url, key_prefix),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def __call__(self, code: str) -> Any:
        """What the code evaluates to, through JSON."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.poll() is None, self._log.read_text()
        process.stdin.write(json.dumps(code) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        assert line, f"Ruby ended: {self._log.read_text()}"
        said = json.loads(line)
        assert "error" not in said, said["error"]
        return said["answer"]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        self._process.stdout.close()
        self._errors.close()


class SidekiqProcess:
    """``sidekiq -r jobs.rb``: a real server, ended with the block."""

    def __init__(self, url: str, log: Path, *queues: str, key_prefix: str = "") -> None:
        need_sidekiq()
        self._log = log
        command = ["sidekiq", "-e", "test", "-r", str(RUBY / "jobs.rb"), "-c", "2", "-t", "2"]
        for queue in queues or ("default",):
            command += ["-q", queue]
        with log.open("wb") as file:
            self.process = subprocess.Popen(command, env=environment(url, key_prefix), stdout=file, stderr=file)

    @property
    def log(self) -> str:
        return self._log.read_text()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
