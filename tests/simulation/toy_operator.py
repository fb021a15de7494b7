"""The operator's loop around the real planner: observe, plan, act on the toy cluster, write the status if it differs.

It keeps what the real one keeps in memory: expectations (is what I did shown yet?), the history of recommendations,
since when it watches, what it saw last in Redis. A restart forgets all of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import assert_never

from jobworker_operator.model.actions import (
    Action,
    AddFinalizer,
    CreatePod,
    DeletePod,
    Plan,
    QuietPod,
    RemoveFinalizer,
    RescueWorker,
    RetirePod,
    SetReplicas,
    UnquietPod,
)
from jobworker_operator.model.facts import Observation, PodFacts, Recommendation, RedisFacts, Unreadable
from jobworker_operator.model.names import DRAIN_FINALIZER
from jobworker_operator.model.spec import JobWorker
from jobworker_operator.plan import plan
from tests.simulation.toy_cluster import PromiseBroken, ToyCluster
from tests.unit.operator.promises import check

_CHANGES_REDIS = (RetirePod, QuietPod, UnquietPod, DeletePod, RescueWorker)
AWAY = Unreadable("RedisUnreachable", "Redis refuses connections")


class ToyOperator:
    """``conflict_rate`` is the share of API writes that are refused, ``clock_ahead`` how wrong its clock is."""

    def __init__(self, cluster: ToyCluster, jobworker: JobWorker, revision: str) -> None:
        self.cluster = cluster
        self.jobworker = jobworker
        self.revision = revision
        self.conflict_rate = 0.0
        self.clock_ahead = 0.0
        self.gone = False
        self.status_writes = 0
        self.actions: list[Action] = []
        self.restart()

    def restart(self) -> None:
        """A new process: it lists everything, and remembers nothing."""
        self.expected: dict[str, Callable[[PodFacts | None], bool]] = {}
        self.history: tuple[Recommendation, ...] = ()
        self.watching_since = self.cluster.now + self.clock_ahead
        self.seen: RedisFacts | Unreadable | None = None
        self.fresh = True
        self.known: set[str] = set()
        self.vanished: set[str] = set()
        self.cluster.shown = {uid: pod.facts for uid, pod in self.cluster.pods.items()}

    def reconcile(self) -> Plan:
        observation = self.observe()
        decided = plan(observation)
        check(observation, decided)
        if plan(observation) != decided:
            raise PromiseBroken("the same observation gave another plan")
        for action in decided.actions:
            if not self._act(action):
                break  # the rest of a plan is not carried out: it is made anew
        if decided.recommendation is not None:
            self.history = (*self.history[-200:], decided.recommendation)
        if decided.status is not None and dict(decided.status) != dict(self.jobworker.status):
            self.jobworker = replace(self.jobworker, status=decided.status)
            self.status_writes += 1
        return decided

    def observe(self) -> Observation:
        cluster = self.cluster
        redis = self._look()
        self.expected = {
            uid: seen
            for uid, seen in self.expected.items()
            if not seen(cluster.shown.get(uid)) and (uid in cluster.pods or uid in cluster.shown)
        }
        return Observation(
            now=cluster.now + self.clock_ahead,
            jobworker=self.jobworker,
            revision=self.revision,
            pods=tuple(cluster.shown.values()),
            redis=redis,
            settled=not self.expected and self.fresh,
            history=self.history,
            watching_since=self.watching_since,
        )

    def _look(self) -> RedisFacts | Unreadable:
        """What was seen last, which may be older than what this operator has done since."""
        cluster = self.cluster
        self.vanished |= self.known - cluster.shown.keys()
        self.known = set(cluster.shown)
        if self.seen is None or not cluster.redis_lags:
            self.seen, self.fresh = AWAY if cluster.redis_away else cluster.redis_facts(), True
            self.vanished &= cluster.records.keys() | cluster.quiet.keys()
        if isinstance(self.seen, Unreadable):
            return self.seen
        orphans = {*self.seen.orphans, *(self.vanished & self.seen.activities.keys())} - cluster.shown.keys()
        return replace(self.seen, orphans=tuple(sorted(orphans)))

    def _act(self, action: Action) -> bool:
        """False: the API server refused."""
        self.actions.append(action)
        if self.cluster.random.random() < self.conflict_rate:
            return False
        cluster = self.cluster
        self.fresh = self.fresh and not isinstance(action, _CHANGES_REDIS)
        match action:
            case CreatePod():
                self.expected[cluster.create(action.revision)] = lambda shown: shown is not None
            case RetirePod():
                if cluster.retire(action.uid, action.reason):
                    self._annotate(action)
            case QuietPod():
                cluster.quiet[action.uid] = f"operator: {action.reason}"
                self._annotate(action)
            case UnquietPod():
                cluster.quiet.pop(action.uid, None)
                cluster.annotate(action.uid, None)
                self.expected[action.uid] = lambda shown: shown is None or shown.removal is None
            case DeletePod():
                self._delete(action)
            case RescueWorker():
                self._rescue(action)
            case SetReplicas():
                assert self.jobworker.spec is not None
                self.jobworker = replace(self.jobworker, spec=replace(self.jobworker.spec, replicas=action.replicas))
            case AddFinalizer():
                self.jobworker = replace(self.jobworker, finalizers=(*self.jobworker.finalizers, DRAIN_FINALIZER))
            case RemoveFinalizer():
                self.gone = True
            case _:
                assert_never(action)
        return True

    def _annotate(self, action: RetirePod | QuietPod) -> None:
        if self.cluster.random.random() < self.conflict_rate:
            return  # quiet without an annotation: the next look has to find it
        self.cluster.annotate(action.uid, action.reason)
        self.expected[action.uid] = lambda shown: shown is None or shown.removal is not None

    def _delete(self, action: DeletePod) -> None:
        if not action.unconfirmed and not self.cluster.confirm_drained(action.uid, action.epoch, action.reason):
            return
        if self.cluster.delete(action.uid, action.resource_version):
            self.expected[action.uid] = lambda shown: shown is None or shown.terminating

    def _rescue(self, action: RescueWorker) -> None:
        # The watch lags: whoever vouches for the end of a whole pod asks the API server first.
        if action.epoch is not None or not self.cluster.lives(action.uid):
            self.cluster.rescue(action.uid, action.epoch, forget=action.forget)
