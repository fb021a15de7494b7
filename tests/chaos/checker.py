"""Judges a run by its records alone: what was acknowledged ran, and what ran twice did so for a recorded reason.

Strict on purpose. A run of a job may be repeated only if the process that ran it ended, or was silent for longer than a
heartbeat lives, while Redis said that it held exactly this job.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tests.chaos.records import Record
from tests.chaos.walks import NOTICE_SECONDS, Walk, judge_walks, of_jobs

_ITERATING = frozenset({"Walk", "PlainWalk"})
_TIDY_CODES = frozenset({0, 3, -9, -15})
"""Clean; jobs were cut; killed by us; SIGTERM came before the process could listen to it, and so before any job."""

_AWAKE_SECONDS = 1.5
"""A process that was stopped acts upon answers that wait for it; by its next beat, a second later, it must know."""


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that must not happen. ``key`` is the producer's number of the job, or empty."""

    what: str
    key: str = ""


@dataclass(slots=True)
class Unclean:
    """A process that held ``jids`` (None: whatever had not ended at ``since``) and could not end them."""

    life: str
    why: str
    jids: frozenset[str] | None
    since: float
    until: float

    def covers(self, jid: str, began: float, ended: float | None) -> bool:
        """May a run of this job that began then be repeated?"""
        if began > self.until + (_AWAKE_SECONDS if self.comes_back else 0):
            return False
        if self.jids is None:
            return ended is None or ended >= self.since
        return jid in self.jids

    @property
    def comes_back(self) -> bool:
        """Did the process go on behind it?"""
        return self.why in {"stopped", "network silent"}


@dataclass(slots=True)
class Run:
    """One run of a job that does not iterate."""

    jid: str
    life: str
    attempt: int
    began: float
    ended: float | None = None
    done: bool = False


@dataclass(slots=True)
class Key:
    """What a producer wanted once."""

    job: str = ""
    pushes: int = 0
    acknowledged: bool = False
    jids: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Verdict:
    """``repeated``: ends of jobs beyond the first, by their cause."""

    keys: int = 0
    acknowledged: int = 0
    done: int = 0
    rows: int = 0
    rows_repeated: int = 0
    poisoned: int = 0
    in_flight: int = 0
    repeated: Counter[str] = field(default_factory=Counter)
    violations: list[Violation] = field(default_factory=list)


class Checker:
    """All that the records tell, sorted by whom it is about."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.keys: dict[str, Key] = defaultdict(Key)
        self.runs: dict[str, list[Run]] = defaultdict(list)
        self.unclean: dict[str, list[Unclean]] = defaultdict(list)
        self.away: list[tuple[float, float]] = []
        self.links: dict[str, list[tuple[float, float]]] = defaultdict(list)
        self.fates: dict[str, str] = {}
        self.verdict = Verdict()
        self._key_of: dict[str, str] = {}
        self._buried: list[Record] = []
        open_runs: dict[tuple[str, str], Run] = {}
        for record in records:
            self._read(record, open_runs)
        self.walks = of_jobs(records)

    def judge(self) -> Verdict:
        """The verdict; violations are in the order in which they are looked for."""
        verdict = self.verdict
        for jid, runs in self.runs.items():
            self._judge_runs(jid, runs)
        for jid, walks in self.walks.items():
            self._judge_walks(jid, walks)
        for burial in self._buried:
            self._judge_burial(burial)
        for name, key in self.keys.items():
            self._judge_key(name, key)
        verdict.keys = len(self.keys)
        verdict.acknowledged = sum(key.acknowledged for key in self.keys.values())
        verdict.in_flight = sum(len(u.jids or ()) for events in self.unclean.values() for u in events)
        return verdict

    def _read(self, record: Record, open_runs: dict[tuple[str, str], Run]) -> None:
        match record["e"]:
            case "push":
                for name in record["keys"]:
                    self.keys[name].job = record["job"]
                    self.keys[name].pushes += 1
            case "ack":
                for name, jid in zip(record["keys"], record["jids"], strict=True):
                    self.keys[name].acknowledged = True
                    self._known(jid, name)
            case "start":
                self._known(record["jid"], record["key"])
                run = Run(record["jid"], record["life"], record["attempt"], record["t"])
                self.runs[run.jid].append(run)
                open_runs[run.jid, run.life] = run
            case "done" | "fail" if (ended := open_runs.get((record["jid"], record["life"]))) is not None:
                ended.ended, ended.done = record["t"], record["e"] == "done"
                if record.get("last") == "dropped":
                    self.fates[ended.jid] = "dropped"
            case "walk":
                self._known(record["jid"], record["key"])
            case "complete":
                self.fates[record["jid"]] = "done"
            case _:
                self._read_storm(record)

    def _read_storm(self, record: Record) -> None:
        match record["e"]:
            case "unclean":
                jids = None if record["jids"] is None else frozenset(record["jids"])
                found = Unclean(record["who"], record["why"], jids, record["since"], record["until"])
                self.unclean[found.life].append(found)
            case "away":
                self.away.append((record["since"], record["until"]))
            case "link":
                self.links[record["who"]].append((record["since"], record["until"]))
            case "over" if record["code"] not in _TIDY_CODES:
                self._violate(f"{record['who']} ended by itself with code {record['code']}")
            case "buried":
                self._buried.append(record)
            case "violation":
                self._violate(record["what"], self._key_of.get(record.get("jid", ""), ""))
            case _:
                pass  # for the story alone

    def _known(self, jid: str, name: str) -> None:
        self._key_of[jid] = name
        self.keys[name].jids.add(jid)

    def _violate(self, what: str, key: str = "") -> None:
        self.verdict.violations.append(Violation(what, key))

    def causes(self, jid: str, life: str, began: float, ended: float | None) -> list[Unclean]:
        """Why a run may have to be repeated."""
        return [event for event in self.unclean[life] if event.covers(jid, began, ended)]

    def _judge_runs(self, jid: str, runs: Sequence[Run]) -> None:
        key = self._key_of[jid]
        causes = {id(run): self.causes(jid, run.life, run.began, run.ended) for run in runs}
        for attempt in {run.attempt for run in runs}:
            clean = [run for run in runs if run.attempt == attempt and run.ended and not causes[id(run)]]
            if len(clean) > 1:
                self._violate(f"ran to its end {len(clean)} times at attempt {attempt}, and no cause is known", key)
        for run in runs:
            if run.ended is None and not causes[id(run)]:
                self._violate(f"began in {run.life} and did not end, and no cause is known", key)
        done = [run for run in runs if run.done]
        if done:
            self.fates[jid] = "done"
        for run in [run for run in done if causes[id(run)]][: len(done) - 1]:
            self.verdict.repeated[causes[id(run)][0].why] += 1

    def _judge_walks(self, jid: str, walks: Sequence[Walk]) -> None:
        key = self._key_of[jid]
        found = judge_walks(
            walks,
            lambda walk: self.causes(jid, walk.life, walk.began, None),
            lambda walk: self._came_late(jid, walk),
            self.troubled,
        )
        for what in found.violations:
            self._violate(what, key)
        self.verdict.rows += found.rows
        self.verdict.rows_repeated += found.repeated
        if self.fates.get(jid) == "done" and found.missing:
            self._violate(f"complete, and {found.missing} of its rows never ran", key)

    def _came_late(self, jid: str, walk: Walk) -> bool:
        """Did it begin as its process awoke, and ended as soon as that heard that it has another holder?"""
        return any(
            event.comes_back and event.covers(jid, walk.began, None) and event.since <= walk.began
            for event in self.unclean[walk.life]
        ) and all(when <= walk.began + NOTICE_SECONDS for _, when in walk.rows)

    def troubled(self, life: str, since: float, until: float) -> bool:
        """Was Redis, or the way of this process to it, disturbed in that time?"""
        return any(begin <= until and end >= since for begin, end in (*self.away, *self.links[life]))

    def _judge_burial(self, burial: Record) -> None:
        jid, error = burial["jid"], burial["error"]
        key = self._key_of.get(jid, "")
        if error == "Deliberate" and self.keys[key].job == "doomed":
            self.fates[jid] = "buried"
        elif error == "Poison":
            self.verdict.poisoned += 1
            before = max((b["t"] for b in self._buried if b["jid"] == jid and b["t"] < burial["t"]), default=0.0)
            deaths = [u for u in self._holding(jid) if before < u.until and u.since < burial["t"]]
            if len(deaths) < burial["deaths"]:
                self._violate(
                    f"buried as poison after {burial['deaths']} deaths, of which {len(deaths)} are known", key
                )
        else:
            self._violate(f"buried for {error}: {burial['message']}", key)

    def _holding(self, jid: str) -> Iterable[Unclean]:
        return (u for events in self.unclean.values() for u in events if u.jids is not None and jid in u.jids)

    def _judge_key(self, name: str, key: Key) -> None:
        fates = [self.fates[jid] for jid in key.jids if jid in self.fates]
        if key.acknowledged and not fates:
            self._violate("acknowledged to its producer, and lost", name)
        if len(key.jids) > key.pushes:
            self._violate(f"pushed {key.pushes} times, and there are {len(key.jids)} jobs of it", name)
        self.verdict.done += bool(fates)
        if len(fates) > 1:
            self.verdict.repeated["push in doubt, made again"] += len(fates) - 1
