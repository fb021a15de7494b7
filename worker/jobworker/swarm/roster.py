"""Who of the children lives, and what the parent has to do about it: decisions without a process or a clock."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from jobworker.runtime.process import EXIT_CLEAN, EXIT_JOBS_CUT, EXIT_NO_START
from jobworker.swarm.messages import Report, Roll

SPOKESMAN = 0
"""Number of the place of the child that speaks for the pod; those that run jobs have the places from 1 on."""

SILENT_SECONDS = 30.0  # without a report: stopped, or C code holds the interpreter; a hung event loop is silent too
STARTS = 4  # that fail one after another, of a child that was never ready, before the pod gives up
_LAST_WORDS_SECONDS = 4.0  # after the time of jobs is over; a pod has 5 s behind its drain
_LONG_ENOUGH_SECONDS = 60.0  # of life, after which a death is not one of a row
_RECYCLE_SECONDS = 60.0  # between two of a place: a limit that every process is over must not become a loop
_BACKOFF_SECONDS, _LONGEST_BACKOFF_SECONDS = 0.5, 30.0


@dataclass(frozen=True, slots=True)
class Start:
    """Fork a child for a place."""

    place: int
    number: int


@dataclass(frozen=True, slots=True)
class Kill:
    """End a child with SIGKILL."""

    child: Child
    why: str


@dataclass(frozen=True, slots=True)
class Recycle:
    """Have a child leave when its jobs have ended; another takes its place at once."""

    child: Child


Step = Start | Kill | Recycle


@dataclass(slots=True, eq=False)
class Child:
    """A process. ``number`` is never used again in the life of the parent, ``place`` is."""

    number: int
    place: int
    since: float
    heard_at: float
    pid: int = 0
    report: Report | None = None
    was_ready: bool = False
    leaving: bool = False
    killed: bool = False


@dataclass(slots=True)
class _Place:
    start_at: float = float("-inf")
    recycle_at: float = float("-inf")
    failures: int = 0  # in a row
    was_ready: bool = False


@dataclass(slots=True)
class Roster:
    """``limit_kb`` is the memory that a child may have, 0 for any; times are monotonic seconds."""

    processes: int
    shutdown_seconds: float
    limit_kb: int = 0
    children: dict[int, Child] = field(default_factory=dict)
    exit_code: int = EXIT_CLEAN
    stop_at: float | None = None
    finishing: bool = False
    _born: int = 0
    _places: list[_Place] = field(default_factory=list)

    def __post_init__(self) -> None:
        """No place has been tried yet."""
        self._places = [_Place() for _ in range(self.processes + 1)]

    @property
    def stopping(self) -> bool:
        """Is the pod going to end?"""
        return self.stop_at is not None

    @property
    def over(self) -> bool:
        """Has the pod ended?"""
        return self.finishing and not self.children

    @property
    def spokesman(self) -> Child | None:
        """The child that speaks for the pod."""
        return next((child for child in self.children.values() if child.place == SPOKESMAN), None)

    @property
    def workers(self) -> list[Child]:
        """The children that run jobs."""
        return [child for child in self.children.values() if child.place != SPOKESMAN]

    def born(self, start: Start, now: float) -> Child:
        """A child was forked."""
        self._born = start.number
        child = self.children[start.number] = Child(start.number, start.place, now, now)
        return child

    def heard(self, child: Child, now: float, *, ready: bool, report: Report | None = None) -> None:
        """A child said something."""
        child.heard_at = now
        child.report = report or child.report
        if ready:
            child.was_ready = self._places[child.place].was_ready = True

    def forgive(self, now: float) -> None:
        """The parent itself stood still, so nobody's silence counts."""
        for child in self.children.values():
            child.heard_at = now

    def stop(self, now: float) -> None:
        """A signal, or a child that cannot be: end all. A second one: at once."""
        self.stop_at = now if self.stop_at is None else min(self.stop_at, now - self.shutdown_seconds)

    def ended(self, child: Child, code: int, now: float) -> str | None:
        """A child is gone, with an exit code or minus a signal. Why the pod has to end now, if it has to."""
        del self.children[child.number]
        if self._cut_jobs(child, code) and self.exit_code == EXIT_CLEAN:
            self.exit_code = EXIT_JOBS_CUT
        place = self._places[child.place]
        if self.stopping or child.leaving:
            return None
        place.failures = 1 if now - child.since > _LONG_ENOUGH_SECONDS else place.failures + 1
        if child.place == SPOKESMAN and code == EXIT_NO_START and not place.was_ready:
            self.exit_code = EXIT_NO_START
            return "the pod cannot start"
        if not place.was_ready and place.failures >= STARTS:
            self.exit_code = EXIT_NO_START
            return f"a process ended {STARTS} times in a row before it could take a job; its last lines are above"
        if place.failures > 1:
            backoff = min(_BACKOFF_SECONDS * 2 ** (place.failures - 2), _LONGEST_BACKOFF_SECONDS)
            place.start_at = now + backoff
        return None

    def _cut_jobs(self, child: Child, code: int) -> bool:
        if child.place == SPOKESMAN:
            return self.finishing and code == EXIT_JOBS_CUT  # Redis says that jobs are still held
        # Of a child that died while the pod goes on, others run the jobs: the pod's own end may still be clean.
        if not self.stopping or code == EXIT_CLEAN:
            return False
        return code == EXIT_JOBS_CUT or child.killed or child.report is None or child.report.load > 0

    def due(self, now: float) -> Iterator[Step]:
        """What to do now."""
        for child in self.children.values():
            if now - child.heard_at > SILENT_SECONDS and not child.killed:
                yield Kill(child, f"it said nothing for {SILENT_SECONDS:.0f} s: it is stopped, or it hangs")
        if self.stop_at is not None:
            late = now - self.stop_at > self.shutdown_seconds + _LAST_WORDS_SECONDS
            yield from (Kill(child, "its time is over") for child in self.workers if late and not child.killed)
        yield from self._starts(now)
        if not self.stopping and not any(child.leaving for child in self.workers):
            # One at a time, so that there is never more than one process too many.
            heavy = [child for child in self.workers if self._heavy(child, now)]
            yield from (Recycle(child) for child in heavy[:1])

    def recycled(self, child: Child, now: float) -> None:
        """It was told to leave; its place is free for another."""
        child.leaving = True
        self._places[child.place].recycle_at = now + _RECYCLE_SECONDS

    def _heavy(self, child: Child, now: float) -> bool:
        if self.limit_kb == 0 or child.report is None or child.report.rss_kb <= self.limit_kb:
            return False
        return now >= self._places[child.place].recycle_at

    def _starts(self, now: float) -> Iterator[Start]:
        taken = {child.place for child in self.children.values() if not child.leaving}
        for place, state in enumerate(self._places):
            # The one that speaks for the pod is needed until the end: it says goodbye.
            wanted = not self.finishing if place == SPOKESMAN else not self.stopping
            if wanted and place not in taken and now >= state.start_at:
                self._born += 1
                yield Start(place, self._born)

    def roll(self) -> Roll:
        """What the pod's speaker has to know."""
        workers = self.workers
        reports = [child.report for child in workers if child.report is not None]
        return Roll(
            born=self._born,
            living=tuple(child.number for child in workers),
            load=sum(report.load for report in reports),
            ready=all(place.was_ready for place in self._places[1:]) and any(report.ready for report in reports),
            quiet=any(report.quiet for report in reports),
            rss_kb=sum(report.rss_kb for report in reports),
            stopping=self.stopping,
            finish=self.finishing,
            quiet_here=sum(report.quiet_here for report in reports),
        )
