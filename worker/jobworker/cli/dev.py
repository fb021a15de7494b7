"""`jobworker dev`: all that a first job needs, by one command, and gone without a trace when it ends."""

from __future__ import annotations

import contextlib
import inspect
import itertools
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import NoReturn

import click

from jobworker.app import App
from jobworker.cli.children import ends_with_this_process
from jobworker.cli.enqueue import parse_arguments, push
from jobworker.cli.loading import load
from jobworker.cli.options import all_queues, redis_is_away, redis_options
from jobworker.cli.scratch_redis import ScratchRedis, find_server
from jobworker.cli.sources import MOST_FILES, Sources
from jobworker.client.connection import DEFAULT_URL, without_password
from jobworker.errors import ArgumentsNotJSON, ConfigurationError
from jobworker.jobs.definition import Definition
from jobworker.runtime.link import AWAY

_TICK_SECONDS = 0.1
_LOOK_TICKS = 5  # between two looks at the sources
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@click.command()
@click.argument("target", metavar="MODULE:APP")
@click.option(
    "-e", "--enqueue", "first", multiple=True, metavar="'NAME [ARGS_JSON]'",
    help="A job to begin with, as `welcome [7]`; may be given several times.",
)  # fmt: skip
@click.option(
    "-q", "--queues", multiple=True, callback=all_queues, help="As of `run`; by default the queues that the jobs name."
)
@click.option(
    "-c", "--concurrency", type=click.IntRange(1, 1000), default=10, help="How many jobs run at the same time."
)
@click.option(
    "--shutdown-seconds", type=click.FloatRange(min=0), default=5.0, show_default=True,
    help="How long jobs may go on when the worker ends or starts anew.",
)  # fmt: skip
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="debug", show_default=True,
    help="debug logs the start and the end of each job.",
)  # fmt: skip
@click.option("--reload/--no-reload", default=True, help="Start the worker anew when a Python file here changes.")
@redis_options
def dev(  # noqa: PLR0913, PLR0917  # one parameter a flag
    target: str,
    first: tuple[str, ...],
    queues: str | None,
    concurrency: int,
    shutdown_seconds: float,
    log_level: str,
    reload: bool,  # noqa: FBT001  # a flag
    redis_url: str | None,
    key_prefix: str | None,
) -> None:
    """Run a worker for MODULE:APP while you write it.

    Where no Redis is configured, a scratch one is started and removed at the end with all that is in it. The worker
    starts anew when a Python file below the working directory changes. Ctrl-C ends everything.
    """
    sources = _sources() if reload else None  # before the first look at the code: what is saved meanwhile counts
    app = _loaded(target, sources)
    url = redis_url or (app.redis_url if app.redis_url != DEFAULT_URL else None)
    with contextlib.ExitStack() as stack:
        if url is None:
            scratch = stack.enter_context(ScratchRedis(find_server()))
            url = scratch.url
            _say(f"a Redis of this session at {url} ({scratch.program}); it goes with all that is in it at the end")
        else:
            _say(f"Redis at {without_password(url)}")
        app.connect_to(url, app.key_prefix if key_prefix is None else key_prefix)
        _begin(app, url, first)
        _hint(app, target, url)
        command = [
            sys.executable, "-m", "jobworker.cli", "run", target, "--concurrency", str(concurrency),
            "--shutdown-seconds", str(shutdown_seconds), "--log-level", log_level,
            "--key-prefix", app.key_prefix, *(["--queues", queues] if queues is not None else []),
        ]  # fmt: skip
        # Not as a flag: a list of processes shows those to everybody, with the password.
        code = Supervisor(command, {**os.environ, "JOBWORKER_REDIS_URL": url}, sources).run()
    sys.exit(code)


class Supervisor:
    """Keeps one worker process: starts it anew when code has changed, passes signals on, ends with it."""

    def __init__(self, command: list[str], environment: Mapping[str, str], sources: Sources | None) -> None:
        self._command = command
        self._environment = environment
        self._sources = sources
        self._stop = False
        self._worker: subprocess.Popen[bytes] | None = None

    def run(self) -> int:
        """Until a signal, or until the worker has ended and no change could start it anew; its exit code."""
        before = [(number, signal.signal(number, self._on_signal)) for number in _SIGNALS]
        try:
            while True:
                worker = self._worker = self._start()
                changed = self._wait(worker)
                if changed is None:
                    return self._end(worker)
                _say(f"{changed} has changed: the worker starts anew")
                self._end(worker)
        finally:
            if self._worker is not None and self._worker.poll() is None:
                self._worker.kill()
                self._worker.wait()
            for number, handler in before:
                signal.signal(number, handler)

    def _wait(self, worker: subprocess.Popen[bytes]) -> str | None:
        """The file that has changed; None if it is time to end."""
        told = False
        for tick in itertools.count(1):
            if self._stop:
                return None
            if tick % _LOOK_TICKS == 0 and self._sources is not None:
                changed = self._sources.changed()
                if changed is not None:
                    return changed
            if worker.poll() is not None and not told:
                if self._sources is None:
                    return None
                told = True
                _say(f"the worker ended with exit code {worker.returncode}; it starts anew when a file changes")
            time.sleep(_TICK_SECONDS)
        return None

    def _start(self) -> subprocess.Popen[bytes]:
        # In a session of its own: a Ctrl-C reaches this process alone, which tells the worker once.
        return subprocess.Popen(  # noqa: S603  # this program itself
            self._command,
            env=self._environment,
            start_new_session=True,
            preexec_fn=ends_with_this_process(),  # noqa: PLW1509  # this program has one thread
        )

    @staticmethod
    def _end(worker: subprocess.Popen[bytes]) -> int:
        worker.terminate()
        return worker.wait()

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        if self._stop and self._worker is not None:
            self._worker.terminate()  # a second one: at once, as the worker itself understands it
        self._stop = True


def _loaded(target: str, sources: Sources | None) -> App:
    """The application, once it can be imported; this process begins anew when a file changes, with all modules.

    Raises:
        click.ClickException: it cannot be imported, and no file is watched.
        ConfigurationError: ``target`` names no application.
    """
    try:
        return load(target)
    except Exception as error:  # whatever the user's modules raise while they are written
        frames = traceback.extract_tb(error.__traceback__)
        if isinstance(error, ConfigurationError) and frames[-1].filename == load.__code__.co_filename:
            raise  # what was typed is wrong, not the code
        broken = f"{target} cannot be imported: {_in_short(error, frames)}"
    if sources is None:
        raise click.ClickException(f"{broken}; `jobworker check {target}` shows the traceback")
    _say(f"{broken}; it is tried again when a file changes")
    return _begin_anew(sources)


def _begin_anew(sources: Sources) -> NoReturn:
    """This program in the place of this process, once a file has changed: no module is left of the old ones."""
    try:
        while (changed := sources.changed()) is None:
            time.sleep(_TICK_SECONDS * _LOOK_TICKS)
    except KeyboardInterrupt:
        sys.exit(0)
    _say(f"{changed} has changed")
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606  # this program itself


def _in_short(error: Exception, frames: traceback.StackSummary) -> str:
    """The error in a line, with the last place below the working directory that it came through."""
    here = [frame for frame in frames if Path(frame.filename).is_relative_to(Path.cwd())]
    place = (
        ""
        if isinstance(error, SyntaxError) or not here
        else f" ({Path(here[-1].filename).name}, line {here[-1].lineno})"
    )
    return f"{type(error).__name__}: {error}{place}"


def _begin(app: App, url: str, first: tuple[str, ...]) -> None:
    """Enqueue what the command line names."""
    for written in first:
        name, _, args_json = written.strip().partition(" ")
        try:
            jid, queue = push(app, url, app.key_prefix, name, parse_arguments(args_json or "[]"), None, None)
        except ArgumentsNotJSON as error:
            raise click.BadParameter(str(error), param_hint="-e/--enqueue") from error
        except AWAY as error:
            raise redis_is_away(url, error) from error
        _say(f"{name} {jid} is in the queue {queue}")


def _hint(app: App, target: str, url: str) -> None:
    """What to type in another terminal."""
    job: Definition | None = next(iter(app.jobs), None)
    if job is None:
        _say(f"{target} defines no job; are the modules with the jobs imported?")
        return
    required = [p.name for p in job.signature.parameters.values() if p.default is inspect.Parameter.empty]
    arguments = f" '[{', '.join(name.upper() for name in required)}]'" if required else ""
    known = url in {DEFAULT_URL, os.environ.get("JOBWORKER_REDIS_URL")}
    where = "" if known else f"export JOBWORKER_REDIS_URL={without_password(url)}; "
    _say(f"from another terminal: {where}jobworker enqueue {job.name}{arguments} --app {target}; jobworker top")


def _sources() -> Sources | None:
    sources = Sources(Path.cwd())
    if not sources.too_many:
        return sources
    _say(f"more than {MOST_FILES:,} Python files are below {Path.cwd()}: changes are not watched for")
    return None


def _say(message: str) -> None:
    click.echo(f"jobworker dev: {message}", err=True)
