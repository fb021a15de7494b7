"""`jobworker dev` and the queues of `jobworker run`: real processes, as a terminal would start and end them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from tests.redis_server import RedisServer
from tests.waiting import wait_until_sync

pytestmark = pytest.mark.redis

SECONDS = 40  # for what takes two: a bound costs only who waits in vain

APPLICATION = """
from pathlib import Path

from jobworker import App

app = App()


@app.job(queue="mails")
def welcome(name: str) -> None:
    with Path("welcomed").open("a") as welcomed:
        welcomed.write(f"{name} by VERSION\\n")


@app.job(queue="reports")
def report() -> None:
    Path("reported").touch()
"""


class Program:
    """One `jobworker …` in a directory of its own, its standard error in a file."""

    def __init__(self, folder: Path, arguments: tuple[str, ...], environment: dict[str, str]) -> None:
        self.log_file = folder / "log"
        with self.log_file.open("wb") as log:
            command = [sys.executable, "-m", "jobworker.cli", *arguments]
            self.process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    def until(self, words: str) -> None:
        def said() -> bool:
            assert self.process.poll() is None or words in self.log, self.log
            return words in self.log

        wait_until_sync(said, SECONDS, f"{words!r} in {self.log}")


Start = Callable[..., Program]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text(APPLICATION.replace("VERSION", "1"))
    return tmp_path


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    """Starts programs; without a Redis unless one is given."""
    started: list[Program] = []

    def start_program(*arguments: str, **variables: str) -> Program:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("JOBWORKER_")}
        environment |= {"PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": str(folder), **variables}
        started.append(Program(folder, arguments, environment))
        return started[-1]

    yield start_program
    for program in started:
        if program.process.poll() is None:
            program.process.terminate()
        program.process.wait(SECONDS)


def scratch_of(folder: Path) -> list[Path]:
    return sorted(folder.glob("jobworker-dev-*"))


def test_first_job_runs_by_one_command_and_nothing_is_left(folder: Path, start: Start) -> None:
    dev = start("dev", "shop:app", "--enqueue", 'welcome ["Ann"]')
    dev.until("job done")
    assert (folder / "welcomed").read_text() == "Ann by 1\n"
    [scratch] = scratch_of(folder)
    address = next(word for word in dev.log.split() if word.startswith("redis://"))
    # The code changes: the worker starts anew with it, and what is in Redis stays there.
    (folder / "shop.py").write_text(APPLICATION.replace("VERSION", "2"))
    dev.until("shop.py has changed: the worker starts anew")
    with redis.Redis.from_url(address) as client:
        assert int(client.get("stat:processed") or 0) == 1
        server = int(client.info("server")["process_id"])
    again = start("enqueue", "welcome", '["Bob"]', "--app", "shop:app", JOBWORKER_REDIS_URL=address)
    assert again.process.wait(SECONDS) == 0, again.log
    wait_until_sync(lambda: "Bob by 2\n" in (folder / "welcomed").read_text(), SECONDS, "Bob's welcome")
    # Ctrl-C: the worker ends cleanly before Redis does, and the scratch directory goes.
    dev.process.send_signal(signal.SIGINT)
    assert dev.process.wait(SECONDS) == 0
    assert not scratch.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(server, 0)


def test_sigkill_leaves_neither_worker_nor_redis_behind(folder: Path, start: Start) -> None:
    dev = start("dev", "shop:app", "--enqueue", 'welcome ["Ann"]')
    dev.until("job done")
    address = next(word for word in dev.log.split() if word.startswith("redis://"))
    with redis.Redis.from_url(address) as client:
        pids = [int(client.info("server")["process_id"])]
        pids += [int(client.hget(key, "pid") or 0) for key in client.keys("jw:worker:*")]
    assert len(pids) == 2
    dev.process.kill()
    wait_until_sync(lambda: not any(map(lives, pids)), SECONDS, "both are gone")


def lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"  # nobody reaps what lost its parent in a container without init


def test_worker_that_broke_starts_again_when_its_code_is_mended(
    folder: Path, start: Start, redis_server: RedisServer
) -> None:
    dev = start("dev", "shop:app", "--redis", redis_server.url)
    dev.until("ready:")
    assert scratch_of(folder) == []
    (folder / "shop.py").write_text("syntax error")
    dev.until("it starts anew when a file changes")
    (folder / "shop.py").write_text(APPLICATION)
    wait_until_sync(lambda: dev.log.count("ready:") == 2, SECONDS, dev.log)


def save(path: Path, text: str) -> None:
    """At once, as an editor does: nobody reads half of it."""
    written = path.with_suffix(".new")
    written.write_text(text)
    written.replace(path)


def test_application_that_is_broken_at_first_starts_when_it_is_mended(
    folder: Path, start: Start, redis_server: RedisServer
) -> None:
    (folder / "shop.py").write_text("import warehouse\n" + APPLICATION)
    (folder / "warehouse.py").write_text("stock = len(\n")
    dev = start("dev", "shop:app", "--enqueue", 'welcome ["Ann"]', "--redis", redis_server.url)
    dev.until("it is tried again when a file changes")
    assert "shop:app cannot be imported: SyntaxError: '(' was never closed (warehouse.py, line 1)" in dev.log
    save(folder / "warehouse.py", "stock = 1\n\nraise LookupError('no stock')\n")
    dev.until("LookupError: no stock (warehouse.py, line 3)")
    save(folder / "warehouse.py", "stock = 1\n")
    dev.until("job done")
    assert "Traceback" not in dev.log


def test_broken_application_without_reload_is_told_in_a_line(folder: Path, start: Start) -> None:
    (folder / "shop.py").write_text("import nowhere_at_all\n")
    dev = start("dev", "shop:app", "--no-reload")
    assert dev.process.wait(SECONDS) == 1
    assert "ModuleNotFoundError: No module named 'nowhere_at_all' (shop.py, line 1)" in dev.log
    assert "`jobworker check shop:app` shows the traceback" in dev.log
    mistyped = start("dev", "shpo:app")
    assert mistyped.process.wait(SECONDS) == 1
    assert "there is no module shpo" in mistyped.log


def test_password_is_shown_nowhere_and_a_variable_that_is_set_is_not_asked_for(
    folder: Path, start: Start, redis_server: RedisServer
) -> None:
    with redis.Redis.from_url(redis_server.url) as client:
        client.execute_command("ACL", "SETUSER", "ann", "on", ">sesame", "~*", "&*", "+@all")
    address = redis_server.url.replace("redis://", "redis://ann:sesame@")
    dev = start("dev", "shop:app", "--redis", address)
    dev.until("ready:")
    shown = address.replace("sesame", "***")
    assert f"export JOBWORKER_REDIS_URL={shown}; jobworker enqueue" in dev.log
    children = Path(f"/proc/{dev.process.pid}/task/{dev.process.pid}/children").read_text().split()
    assert children
    for child in children:
        assert b"sesame" not in Path(f"/proc/{child}/cmdline").read_bytes()
    dev.process.terminate()
    assert dev.process.wait(SECONDS) == 0
    again = start("dev", "shop:app", JOBWORKER_REDIS_URL=address)
    again.until("ready:")
    assert "from another terminal: jobworker enqueue" in again.log
    assert "sesame" not in dev.log + again.log


def test_missing_redis_server_is_told_with_how_to_get_one(folder: Path, start: Start) -> None:
    old = folder / "bin" / "redis-server"
    old.parent.mkdir()
    old.write_text("#!/bin/sh\necho Redis server v=6.0.16 sha=0\n")
    old.chmod(0o755)
    for path, words in ((str(folder), "no redis-server"), (str(old.parent), f"{old} is of version 6.0")):
        dev = start("dev", "shop:app", PATH=path, PYTHONPATH=os.environ.get("PYTHONPATH", ""))
        assert dev.process.wait(SECONDS) == 1
        assert words in dev.log
        assert "pip install 'jobworker[dev]'" in dev.log
    assert scratch_of(folder) == []


def test_worker_without_queues_named_takes_those_of_its_jobs(
    folder: Path, start: Start, redis_server: RedisServer
) -> None:
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    worker = start("run", "shop:app", JOBWORKER_REDIS_URL=redis_server.url)
    worker.until('queues="mails,1 reports,1"')
    for name, arguments in (("welcome", '["Ann"]'), ("report", "[]")):
        done = start("enqueue", name, arguments, "--app", "shop:app", JOBWORKER_REDIS_URL=redis_server.url)
        assert done.process.wait(SECONDS) == 0
        assert "Warning" not in done.log
    wait_until_sync(lambda: (folder / "welcomed").exists() and (folder / "reported").exists(), SECONDS, worker.log)


@pytest.mark.parametrize("program", ["run", "dev"])
def test_queues_of_several_options_are_all_taken(start: Start, redis_server: RedisServer, program: str) -> None:
    worker = start(program, "shop:app", "-q", "mails,5", "-q", "reports", "--redis", redis_server.url)
    worker.until('queues="mails,5 reports,1"')
    variable = start("run", "shop:app", "--redis", redis_server.url, JOBWORKER_QUEUES="reports,2 mails")
    variable.until('queues="reports,2 mails,1"')


def test_worker_says_which_jobs_its_queues_leave_lying(start: Start, redis_server: RedisServer) -> None:
    worker = start("run", "shop:app", "-q", "mails,5", JOBWORKER_REDIS_URL=redis_server.url)
    worker.until("ready:")
    assert "go to queues that this worker does not take" in worker.log
    assert "queues=reports jobs=report" in worker.log


def test_pause_for_a_time_ends_by_itself_where_a_worker_runs(
    folder: Path, start: Start, redis_server: RedisServer
) -> None:
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
        client.sadd("queues", "mails")
    variables = {"JOBWORKER_REDIS_URL": redis_server.url}
    assert start("queues", "pause", "mails", "--for", "3s", **variables).process.wait(SECONDS) == 0
    done = start("enqueue", "welcome", '["Ann"]', "--app", "shop:app", **variables)
    assert done.process.wait(SECONDS) == 0
    assert "the queue mails is paused" in done.log
    worker = start("run", "shop:app", **variables)
    wait_until_sync((folder / "welcomed").exists, SECONDS, worker.log)
    with redis.Redis.from_url(redis_server.url) as client:
        assert client.exists("paused", "jw:paused-until") == 0
