"""Who takes part, each in the setting that drains fastest for it among those that lose no job, where it has one.

A command's first word is a program of the contestant's environment; ``{concurrency}`` and the like are filled in.
Sources of the settings: each library's own documentation, and trials on a machine of two cores.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from bench.worker.environments import Checkout, DebianEnvironment, Environment, NodeEnvironment, PythonEnvironment


class Family(Enum):
    """What a contestant is compared as."""

    OURS = "ours"
    NODE = "node"
    RUBY = "ruby"
    PYTHON = "python"


@dataclass(frozen=True, slots=True)
class Contestant:
    """One library in one setting.

    ``jobs`` are as many as it drains in a second or three. ``io_concurrency`` is how many jobs that wait it runs at
    once, 100 of async libraries and 25 of threads, None for one that runs a job at a time. ``queues`` are patterns of
    the keys that hold all jobs before the worker starts, and none when all are done and acknowledged. ``reliable``: a
    job in flight survives a SIGKILL of the worker.
    """

    name: str
    title: str
    family: Family
    environment: Environment
    worker: tuple[str, ...]
    producer: tuple[str, ...]
    queues: tuple[str, ...]
    jobs: int
    concurrency: int
    io_concurrency: int | None
    reliable: bool
    variables: Mapping[str, str] = field(default_factory=dict)


_OURS_QUEUES = ("queue:default", "jw:working:*", "retry", "dead")
_OURS_WORKER = ("jobworker", "run", "ours:app", "-c", "{concurrency}", "--redis", "{url}")
_OURS_PRODUCER = ("python", "ours.py")
_SIDEKIQ = DebianEnvironment(("ruby-sidekiq", "ruby-hiredis"), "ruby")
_TASKIQ_WORKER = (
    "taskiq", "worker", "taskiq_jobs:broker", "--workers", "1", "--max-async-tasks", "{concurrency}",
    "--max-prefetch", "{concurrency}", "--log-level", "WARNING",
)  # fmt: skip

_OURS = (
    Contestant(
        name="jobworker",
        title="jobworker, async functions",
        family=Family.OURS,
        environment=Checkout(),
        worker=_OURS_WORKER,
        producer=_OURS_PRODUCER,
        queues=_OURS_QUEUES,
        jobs=200_000,
        concurrency=100,
        io_concurrency=100,
        reliable=True,
    ),
    Contestant(
        name="jobworker-threads",
        title="jobworker, plain functions in threads",
        family=Family.OURS,
        environment=Checkout(),
        worker=_OURS_WORKER,
        producer=_OURS_PRODUCER,
        queues=_OURS_QUEUES,
        jobs=200_000,
        concurrency=100,
        io_concurrency=25,
        reliable=True,
        variables={"BENCH_KIND": "threads"},
    ),
)

_OTHER_LANGUAGES = (
    Contestant(
        name="bullmq",
        title="BullMQ (node)",
        family=Family.NODE,
        environment=NodeEnvironment(),
        worker=("node", "worker.mjs", "{concurrency}"),
        producer=("node", "produce.mjs"),
        queues=("bull:bench:wait", "bull:bench:active", "bull:bench:failed"),
        jobs=40_000,
        concurrency=100,
        io_concurrency=100,
        reliable=True,
    ),
    Contestant(
        name="sidekiq",
        title="Sidekiq 6.4, hiredis",
        family=Family.RUBY,
        environment=_SIDEKIQ,
        worker=("sidekiq", "-r", "./jobs.rb", "-c", "{concurrency}", "-q", "default"),
        producer=("ruby", "produce.rb"),
        queues=("queue:default", "retry", "dead"),
        jobs=30_000,
        concurrency=10,
        io_concurrency=25,
        reliable=False,
        variables={"BENCH_DRIVER": "hiredis"},
    ),
)

_PYTHON = (
    Contestant(
        name="taskiq-stream",
        title="taskiq, Redis stream",
        family=Family.PYTHON,
        environment=PythonEnvironment("taskiq"),
        worker=_TASKIQ_WORKER,
        producer=("python", "taskiq_jobs.py"),
        queues=("taskiq",),
        jobs=6_000,
        concurrency=100,
        io_concurrency=100,
        reliable=True,
    ),
    Contestant(
        name="taskiq-list",
        title="taskiq, Redis list",
        family=Family.PYTHON,
        environment=PythonEnvironment("taskiq"),
        worker=_TASKIQ_WORKER,
        producer=("python", "taskiq_jobs.py"),
        queues=("taskiq",),
        jobs=6_000,
        concurrency=100,
        io_concurrency=100,
        reliable=False,
        variables={"BENCH_KIND": "list"},
    ),
    Contestant(
        name="huey",
        title="huey",
        family=Family.PYTHON,
        environment=PythonEnvironment("huey"),
        worker=("huey_consumer", "huey_jobs.huey", "-k", "thread", "-w", "{concurrency}", "-q"),
        producer=("python", "huey_jobs.py"),
        queues=("huey.redis.bench",),
        jobs=8_000,
        concurrency=1,
        io_concurrency=25,
        reliable=False,
    ),
    Contestant(
        name="saq",
        title="SAQ",
        family=Family.PYTHON,
        environment=PythonEnvironment("saq"),
        worker=("saq", "saq_jobs.settings", "--quiet"),
        producer=("python", "saq_jobs.py"),
        queues=("saq:bench:incomplete",),
        jobs=6_000,
        concurrency=100,
        io_concurrency=100,
        reliable=True,
    ),
    Contestant(
        name="arq",
        title="arq, tuned",
        family=Family.PYTHON,
        environment=PythonEnvironment("arq"),
        worker=("arq", "arq_jobs.Worker", "--custom-log-dict", "arq_jobs.LOGGING"),
        producer=("python", "arq_jobs.py"),
        queues=("arq:queue", "arq:in-progress:*"),
        jobs=6_000,
        concurrency=100,
        io_concurrency=100,
        reliable=True,
    ),
    Contestant(
        name="bullmq-python",
        title="BullMQ for Python",
        family=Family.PYTHON,
        environment=PythonEnvironment("bullmq"),
        worker=("python", "bullmq_jobs.py", "work"),
        producer=("python", "bullmq_jobs.py"),
        queues=("bull:bench:wait", "bull:bench:active", "bull:bench:failed"),
        jobs=6_000,
        concurrency=50,
        io_concurrency=100,
        reliable=True,
    ),
    Contestant(
        name="dramatiq",
        title="Dramatiq",
        family=Family.PYTHON,
        environment=PythonEnvironment("dramatiq"),
        worker=("dramatiq", "dramatiq_jobs", "--processes", "1", "--threads", "{concurrency}"),
        producer=("python", "dramatiq_jobs.py"),
        queues=("dramatiq:default", "dramatiq:__acks__.*.default"),
        jobs=5_000,
        concurrency=16,
        io_concurrency=25,
        reliable=True,
    ),
    Contestant(
        name="celery",
        title="Celery, solo pool, late acks",
        family=Family.PYTHON,
        environment=PythonEnvironment("celery"),
        worker=(
            "celery", "-A", "celery_jobs", "worker", "-P", "solo", "--without-gossip", "--without-mingle",
            "--without-heartbeat", "-l", "ERROR",
        ),
        producer=("python", "celery_jobs.py"),
        queues=("celery", "unacked"),
        jobs=3_000,
        concurrency=1,
        io_concurrency=None,
        reliable=True,
    ),
    Contestant(
        name="streaq",
        title="streaQ",
        family=Family.PYTHON,
        environment=PythonEnvironment("streaq"),
        worker=("streaq", "run", "streaq_jobs:worker"),
        producer=("python", "streaq_jobs.py"),
        queues=("streaq:bench:queues:*",),
        jobs=3_000,
        concurrency=50,
        io_concurrency=100,
        reliable=True,
    ),
    Contestant(
        name="rq",
        title="RQ, SimpleWorker",
        family=Family.PYTHON,
        environment=PythonEnvironment("rq"),
        worker=(
            "rq", "worker", "-w", "rq.worker.SimpleWorker", "--disable-job-desc-logging", "-q", "-u", "{url}", "bench",
        ),
        producer=("python", "rq_jobs.py"),
        queues=("rq:queue:bench", "rq:wip:bench", "rq:failed:bench"),
        jobs=1_000,
        concurrency=1,
        io_concurrency=None,
        reliable=False,
    ),
)  # fmt: skip

CONTESTANTS = (*_OURS, *_OTHER_LANGUAGES, *_PYTHON)


def named(name: str) -> Contestant:
    """The contestant of a name.

    Raises:
        KeyError: there is none.
    """
    return {contestant.name: contestant for contestant in CONTESTANTS}[name]
