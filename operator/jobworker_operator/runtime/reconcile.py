"""One reconcile: what is known of a JobWorker → a plan → the plan carried out → the status written once."""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from jobworker_operator.act.actor import Actor
from jobworker_operator.act.expectations import Expectations
from jobworker_operator.act.status import StatusWriter
from jobworker_operator.act.work import Report, Work
from jobworker_operator.kube.errors import Conflict, KubeError, Unavailable
from jobworker_operator.model.actions import Plan
from jobworker_operator.model.facts import Observation, PodFacts, Recommendation, RedisFacts, Unreadable
from jobworker_operator.model.revision import revision_of
from jobworker_operator.model.spec import JobWorker, Key
from jobworker_operator.observe.activity import ActivityObserver
from jobworker_operator.observe.jobworkers import JobWorkerStore
from jobworker_operator.observe.pods import PodStore
from jobworker_operator.plan import plan
from jobworker_operator.plan.drain import take_census
from jobworker_operator.runtime.metrics import Snapshot, conditions_of

log = logging.getLogger(__name__)

CONFLICT_SECONDS = 0.2
STALE_SECONDS = 0.1  # for the look at Redis after something was changed there
FIRST_LOOK_SECONDS = 10.0
_HISTORY_SECONDS = 3600.0  # the longest stabilization window that the schema allows


class ReconcileFailed(Exception):
    """Some of the plan could not be carried out; the message tells what. The key is tried again, ever less often."""


@dataclass(slots=True)
class _Memory:
    """What a JobWorker's decisions need of the past. ``since`` is epoch seconds."""

    jobworker: JobWorker
    since: float
    history: deque[Recommendation] = field(default_factory=deque)
    problem: str = ""
    snapshot: Snapshot | None = None


class Reconciler:
    """Call `reconcile` with one key at a time; different keys may run side by side.

    ``now`` is the API server's clock in epoch seconds: what pods and statuses are stamped with is compared to it.
    """

    def __init__(
        self,
        jobworkers: JobWorkerStore,
        pods: PodStore,
        activity: ActivityObserver,
        actor: Actor,
        status: StatusWriter,
        expectations: Expectations,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._jobworkers = jobworkers
        self._pods = pods
        self._activity = activity
        self._actor = actor
        self._status = status
        self._expectations = expectations
        self._now = now
        self._memory: dict[Key, _Memory] = {}

    @property
    def snapshots(self) -> dict[Key, Snapshot]:
        """What was seen last of each JobWorker, for metrics."""
        return {key: memory.snapshot for key, memory in self._memory.items() if memory.snapshot is not None}

    def knows(self, key: Key) -> bool:
        """The JobWorker was there at its last reconcile."""
        return key in self._memory

    async def reconcile(self, key: Key) -> float | None:
        """Bring the cluster one step closer. Returns seconds until the next look, None if nothing is under way.

        Raises:
            KubeError: the API server did not take a write.
            ReconcileFailed: Redis did not.
        """
        jobworker = self._jobworkers.get(key)
        if jobworker is None:
            self._forget(key)
            return None
        memory = self._remember(jobworker)
        redis = self._activity.facts(key)
        if redis is None:
            # The observer wakes us after its first look; nothing is decided on an empty memory.
            self._activity.look_soon(key)
            return FIRST_LOOK_SECONDS
        observation = self._observe(jobworker, memory, redis)
        decided = plan(observation)
        _say(decided)
        if decided.recommendation is not None:
            memory.history.append(decided.recommendation)
        report = Report()
        try:
            report = await self._act(jobworker, observation, decided)
            memory.problem = report.failures[0] if report.failures else ""
        except Conflict as conflict:
            log.debug("Somebody was faster, looking again: %s", conflict)
            report.again_in(CONFLICT_SECONDS)
        except Unavailable:
            raise
        except KubeError as error:
            # It will not go away by itself, so it has to stand in the status.
            memory.problem = str(error)
            await self._write_status(observation, decided, report)
            raise
        await self._write_status(observation, decided, report)
        if report.failures:
            raise ReconcileFailed("; ".join(report.failures))
        memory.snapshot = _snapshot(observation, decided)
        # A look at Redis that shows nothing new wakes nobody, and this plan may have waited for it.
        fresh = None if self._activity.is_fresh(key) else STALE_SECONDS
        return _soonest(decided.look_again_seconds, report.look_again, self._expectations.unsettled_seconds(key), fresh)

    async def _act(self, jobworker: JobWorker, observation: Observation, decided: Plan) -> Report:
        key = jobworker.key
        pods: dict[str, PodFacts] = {pod.uid: pod for pod in observation.pods}
        work = Work(jobworker, decided, pods, lambda uid: self._activity.adapter(key, uid), settled=observation.settled)
        try:
            report = await self._actor.carry_out(work)
        except BaseException:
            self._activity.changed(key)
            raise
        if report.touched:
            self._activity.changed(key)
        return report

    async def _write_status(self, observation: Observation, decided: Plan, report: Report) -> None:
        if decided.status is None:
            return
        # What the actions have changed of the JobWorker itself is known by now, and the patch is made against that.
        jobworker = self._jobworkers.get(observation.jobworker.key)
        if jobworker is None or jobworker.uid != observation.jobworker.uid:
            return
        try:
            report.again_in(await self._status.write(jobworker, decided.status))
        except Conflict:
            report.again_in(CONFLICT_SECONDS)

    def _observe(self, jobworker: JobWorker, memory: _Memory, redis: RedisFacts | Unreadable) -> Observation:
        now = self._now()
        while memory.history and memory.history[0].at < now - _HISTORY_SECONDS:
            memory.history.popleft()
        key = jobworker.key
        problems = (*self._actor.problems(key), *self._activity.problems(key), *filter(None, [memory.problem]))
        return Observation(
            now=now,
            jobworker=jobworker,
            revision="" if jobworker.spec is None else revision_of(jobworker),
            pods=self._pods.of(key, jobworker.uid),
            redis=redis,
            settled=self._expectations.unsettled_seconds(key) is None and self._activity.is_fresh(key),
            history=tuple(memory.history),
            watching_since=memory.since,
            problems=problems,
        )

    def _remember(self, jobworker: JobWorker) -> _Memory:
        memory = self._memory.get(jobworker.key)
        if memory is None or memory.jobworker.uid != jobworker.uid:
            memory = self._memory[jobworker.key] = _Memory(jobworker, self._now())
        memory.jobworker = jobworker
        return memory

    def _forget(self, key: Key) -> None:
        memory = self._memory.pop(key, None)
        self._activity.forget(key)
        self._expectations.forget(key)
        if memory is not None:
            self._actor.forget(memory.jobworker)
            log.info("JobWorker %s is gone", key)


def _say(decided: Plan) -> None:
    for action in decided.actions:
        log.debug("Decided %s", action)


def _snapshot(observation: Observation, decided: Plan) -> Snapshot:
    status = decided.status or {}
    return Snapshot(
        states=Counter(member.state for member in take_census(observation).members),
        desired=int(status.get("desiredReplicas") or 0),
        queues=observation.redis.queues if isinstance(observation.redis, RedisFacts) else (),
        paused_jobs=observation.redis.paused_jobs if isinstance(observation.redis, RedisFacts) else 0,
        conditions=conditions_of(status),
        reconciled_at=time.time(),
    )


def _soonest(*seconds: float | None) -> float | None:
    return min(_known(seconds), default=None)


def _known(seconds: Iterable[float | None]) -> Iterable[float]:
    return (each for each in seconds if each is not None)
