"""A cluster, its kubelets, its Redis and its workers as plain values in virtual time: what plans are carried out on.

It keeps two views. ``pods`` is what is; ``shown`` is what the operator's watch has delivered, which may be late. Redis
is read as it is, when it can be read. Deletions, quiets and rescues follow the Lua scripts of the protocol.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field, replace

from jobworker_operator.model.facts import (
    Crash,
    PodFacts,
    QueueFacts,
    RedisFacts,
    Removal,
    RemovalReason,
    WorkerActivity,
)
from jobworker_operator.model.names import quiet_reason

STEP = 0.5
GRACE_SECONDS = 8.0
BEAT_TTL_SECONDS = 5.0
CONCURRENCY = 2


class PromiseBroken(AssertionError):
    """The planner did what must never be done."""


@dataclass(slots=True)
class Job:
    """A job and the seconds of work that it takes."""

    number: int
    seconds: float


@dataclass(slots=True)
class Record:
    """A worker in Redis."""

    epoch: str
    beat: float
    running: int = 0


@dataclass(slots=True)
class Pod:
    """A pod with the worker process in it. ``facts`` is what the API server would say of it now."""

    facts: PodFacts
    starts_at: float
    ready_at: float
    good: bool = True
    lives: int = 0
    mute_until: float = 0.0
    ends_at: float | None = None
    restarts_at: float | None = None
    jobs: dict[int, float] = field(default_factory=dict)
    """Jobs that the process runs, with the time at which each ends."""


class ToyCluster:
    """One JobWorker's pods. ``redis_away`` and ``lag`` are set by whoever makes the faults."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now = 1_000_000.0
        self.pods: dict[str, Pod] = {}
        self.shown: dict[str, PodFacts] = {}
        self.lagging: set[str] = set()
        self.quiet: dict[str, str] = {}
        self.records: dict[str, Record] = {}
        self.held: dict[str, dict[int, Job]] = {}
        self.queue: list[Job] = []
        self.done: Counter[int] = Counter()
        self.enqueued = 0
        self.created = 0
        self.redis_away = False
        self.redis_lags = False
        """The operator's look at Redis is late."""
        self.bad_revisions: set[str] = set()

    # ── the world goes on ────────────────────────────────────────────────────
    def tick(self) -> None:
        """Half a second of everybody's work."""
        self.now += STEP
        for uid in list(self.pods):
            self._kubelet(self.pods[uid])
        if not self.redis_away:
            for uid in list(self.pods):
                self._worker(self.pods[uid])
            self._peers_rescue()

    def enqueue(self, seconds: float) -> None:
        self.enqueued += 1
        self.queue.append(Job(self.enqueued, seconds))

    def show(self) -> None:
        """The watch delivers what it has."""
        for uid in {*self.pods, *self.shown} - self.lagging:
            if uid in self.pods:
                self.shown[uid] = self.pods[uid].facts
            else:
                del self.shown[uid]

    def crash(self, pod: Pod) -> None:
        """The worker's process dies, and the kubelet will start it again."""
        if pod.facts.container_running:
            pod.jobs.clear()
            pause = self.random.choice([0.5, 3.0, 10.0])
            pod.restarts_at = self.now + pause
            self._change(
                pod, container_running=False, container_started_at=None, ready=False, ready_since=None,
                unready_since=self.now, restarts=pod.facts.restarts + 1,
                waiting_reason="CrashLoopBackOff" if pause > STEP else "",
                crash=Crash("worker", "Error, exit code 1"),
            )  # fmt: skip

    def evict(self, pod: Pod) -> None:
        """The node ends the pod: it fails, and stays as an object."""
        pod.jobs.clear()
        self._change(
            pod, phase="Failed", container_running=False, ready=False, ready_since=None, unready_since=self.now,
            disrupted=True, status_reason="Evicted",
        )  # fmt: skip

    def terminate(self, pod: Pod) -> None:
        """Somebody asked the API server to delete the pod."""
        if not pod.facts.terminating:
            pod.ends_at = self.now + (GRACE_SECONDS if pod.facts.container_running else 0.0)
            self._change(pod, terminating=True, terminating_since=self.now)

    def vanish(self, pod: Pod) -> None:
        """Somebody deletes the pod by force: the object is gone at once, and here its process as well."""
        del self.pods[pod.facts.uid]

    def redis_facts(self) -> RedisFacts:
        """What one look at Redis tells."""
        uids = {*self.shown, *self.records, *self.quiet}
        return RedisFacts(
            activities={uid: self._activity(uid) for uid in uids},
            queues=(QueueFacts("default", len(self.queue), 0.0),),
            orphans=tuple(sorted(self.records.keys() - self.shown.keys())),
        )

    # ── what the operator may ask for ────────────────────────────────────────
    def create(self, revision: str) -> str:
        self.created += 1
        name = f"pod-{self.created}"
        good = revision not in self.bad_revisions
        starts_at = self.now + self.random.uniform(0.5, 4)
        facts = PodFacts(name, name, revision, "1", self.now)
        self.pods[name] = Pod(facts, starts_at, starts_at + self.random.uniform(0.5, 3), good)
        return name

    def annotate(self, uid: str, reason: RemovalReason | None) -> None:
        pod = self.pods.get(uid)
        if pod is not None and (reason is None) != (pod.facts.removal is None):
            self._change(pod, removal=None if reason is None else Removal(reason, self.now))

    def retire(self, uid: str, reason: str) -> bool:
        if self.held.get(uid):
            return False
        self.quiet[uid] = quiet_reason(reason)
        return True

    def confirm_drained(self, uid: str, epoch: str | None, reason: str) -> bool:
        if uid not in self.quiet:
            self.quiet[uid] = quiet_reason(reason)
            return False
        record = self.records.get(uid)
        if (record.epoch if record else None) != epoch:
            return False
        return not self.held.get(uid) and (record is None or record.running == 0)

    def delete(self, uid: str, resource_version: str) -> bool:
        """DELETE with preconditions. False: a conflict."""
        pod = self.pods.get(uid)
        if pod is None or pod.facts.resource_version != resource_version:
            return False
        if pod.jobs:
            raise PromiseBroken(f"deleted {uid}, which runs jobs {sorted(pod.jobs)}")
        self.terminate(pod)
        return True

    def lives(self, uid: str) -> bool:
        """GET of a registered worker's pod."""
        pod = self.pods.get(uid)
        return uid in self.records and pod is not None and not pod.facts.ended

    def rescue(self, uid: str, epoch: str | None, *, forget: bool) -> None:
        record, pod = self.records.get(uid), self.pods.get(uid)
        if epoch is not None and (record is None or record.epoch != epoch):
            return
        beats = record is not None and self.now - record.beat < BEAT_TTL_SECONDS
        if pod is not None and pod.jobs and beats:
            raise PromiseBroken(f"took jobs {sorted(pod.jobs)} from {uid}, which runs them")
        self._give_back(uid)
        if forget:
            self.quiet.pop(uid, None)

    # ── inside ───────────────────────────────────────────────────────────────
    def _change(self, pod: Pod, **fields: object) -> None:
        version = str(int(pod.facts.resource_version) + 1)
        pod.facts = replace(pod.facts, resource_version=version, **fields)  # type: ignore[arg-type]  # names are checked by replace itself

    def _kubelet(self, pod: Pod) -> None:
        facts = pod.facts
        if pod.ends_at is not None and (self.now >= pod.ends_at or not facts.container_running):
            del self.pods[facts.uid]
            return
        if facts.ended:
            return
        if not facts.scheduled and self.now >= pod.starts_at - 0.4:
            self._change(pod, scheduled=True, node="node-a")
        elif pod.restarts_at is not None:
            if self.now >= pod.restarts_at:
                self._start(pod)
        elif not facts.container_running and self.now >= pod.starts_at:
            if pod.good:
                self._start(pod)
            elif not facts.waiting_reason:
                self._change(pod, waiting_reason="ImagePullBackOff", waiting_message="no such image")
        ready = pod.facts.container_running and self.now >= pod.ready_at and facts.uid in self.records
        if ready and not pod.facts.ready:
            self._change(pod, ready=True, ready_since=self.now, unready_since=None)

    def _start(self, pod: Pod) -> None:
        pod.restarts_at = None
        pod.ready_at = self.now + 1
        self._change(
            pod, phase="Running", container_running=True, container_started_at=self.now, container_ever_started=True,
            waiting_reason="",
        )  # fmt: skip

    def _worker(self, pod: Pod) -> None:
        uid = pod.facts.uid
        if not pod.facts.container_running or self.now < pod.mute_until:
            return
        record = self.records.get(uid)
        life = f"{uid}/{pod.facts.container_started_at}"
        if record is None or record.epoch != life:
            pod.jobs.clear()  # somebody gave them back: this life learns it by STALE, and stops
            self._give_back(uid)
            record = self.records[uid] = Record(life, self.now)
        for number in [number for number, ends in pod.jobs.items() if self.now >= ends]:
            del pod.jobs[number]
            if self.held.get(uid, {}).pop(number, None) is not None:
                self.done[number] += 1
        if pod.facts.terminating and pod.ends_at is not None and self.now >= pod.ends_at - 2 * STEP:
            pod.jobs.clear()
            self._give_back(uid)
            return
        while uid not in self.quiet and not pod.facts.terminating and len(pod.jobs) < CONCURRENCY and self.queue:
            job = self.queue.pop(0)
            self.held.setdefault(uid, {})[job.number] = job
            pod.jobs[job.number] = self.now + job.seconds
        record.beat, record.running = self.now, len(pod.jobs)

    def _peers_rescue(self) -> None:
        """Workers give back what those held whose heartbeat has expired."""
        if any(pod.facts.container_running for pod in self.pods.values()):
            for uid, record in list(self.records.items()):
                if self.now - record.beat > BEAT_TTL_SECONDS:
                    self._give_back(uid)

    def _give_back(self, uid: str) -> None:
        self.queue[:0] = list(self.held.pop(uid, {}).values())
        self.records.pop(uid, None)

    def _activity(self, uid: str) -> WorkerActivity:
        record, held = self.records.get(uid), len(self.held.get(uid, {}))
        if record is None:
            return WorkerActivity(held=held, quiet=self.quiet.get(uid))
        age = self.now - record.beat
        return WorkerActivity(
            epoch=record.epoch,
            alive=age < BEAT_TTL_SECONDS,
            held=held,
            running=record.running,
            quiet=self.quiet.get(uid),
            beat_age_seconds=age,
            checkpoint_age_seconds=None if held else 0.0,
        )
