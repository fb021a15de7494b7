"""What the status speaks about: one look at the facts, shared by conditions, summary and events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jobworker_operator.model.facts import Crash, Observation, PodFacts, Unreadable
from jobworker_operator.model.names import selector
from jobworker_operator.model.parse_spec import worker_container_index
from jobworker_operator.model.spec import JobWorkerSpec
from jobworker_operator.plan.drain import Census, Member, PodState, runs_nothing
from jobworker_operator.plan.rollout import is_late
from jobworker_operator.plan.scaling import Decision
from jobworker_operator.plan.victims import excess

_BEGINNING_SECONDS = 10.0
_REGISTERED_SECONDS = 30.0  # by then a worker has imported its application
_CRASH_LOOP = frozenset({"", "CrashLoopBackOff", "RunContainerError"})  # what is waited for between two lives
_WORDS_LENGTH = 400  # a registry may answer with a whole page


@dataclass(frozen=True, slots=True)
class Situation:
    """An observation with what was derived from it. ``decision`` is None where there is no size to decide on."""

    observation: Observation
    census: Census
    decision: Decision | None

    @property
    def spec(self) -> JobWorkerSpec | None:
        """The spec, None if it is invalid."""
        return self.observation.jobworker.spec

    @property
    def before(self) -> Mapping[str, Any]:
        """The status that stands there now."""
        return self.observation.jobworker.status

    @property
    def desired(self) -> int:
        """How many replicas there shall be."""
        if self.observation.jobworker.deleting:
            return 0
        if self.decision is not None:
            return self.decision.desired
        return int(self.before.get("desiredReplicas") or 0)

    @property
    def rolling(self) -> bool:
        """Old pods still count as replicas."""
        return bool(self.census.old)

    @property
    def updated_available(self) -> int:
        """Replicas of the wanted revision that are available."""
        return sum(member.available for member in self.census.updated)

    @property
    def complete(self) -> bool:
        """All replicas are of the wanted revision and available. Old pods may still finish their jobs."""
        return not self.rolling and self.updated_available >= self.desired

    @property
    def unreadable(self) -> Unreadable | None:
        """Why Redis could not be read."""
        return self.observation.redis if isinstance(self.observation.redis, Unreadable) else None

    @property
    def late(self) -> tuple[Member, ...]:
        """New pods that did not become ready in time."""
        spec = self.spec
        if spec is None:
            return ()
        return tuple(member for member in self.census.updated if is_late(member, spec, self.observation.now))

    @property
    def failing(self) -> tuple[Member, ...]:
        """Replicas that cannot start, those of the wanted revision first.

        A crash loop is one trouble and not a new one with each crash: once it was told, a container that crashed is
        failing until it has been ready, though it runs for a moment now and then.
        """
        told = self.told("Degraded").get("status") == "True"
        apart = {member.pod.uid for member in self.unregistered}
        others = [member for member in self.census.replicas if member.pod.uid not in apart]
        failing = [member for member in others if member.cannot_start or (told and member.crashed)]
        return tuple(sorted(failing, key=lambda member: not member.updated))

    @property
    def unregistered(self) -> tuple[Member, ...]:
        """Replicas whose container runs for long and has not registered in Redis: perhaps it is no jobworker at all."""
        told = self.told("Degraded").get("reason") == "NotRegistered"
        return tuple(member for member in self.census.replicas if self._is_unregistered(member, told=told))

    def _is_unregistered(self, member: Member, *, told: bool) -> bool:
        if member.state is not PodState.STARTING or member.activity is None or member.pod.never_ran:
            return False
        started = member.pod.container_started_at
        lasted = started is not None and self.observation.now - started >= _REGISTERED_SECONDS
        # Its liveness probe restarts it now and then: that is no recovery.
        return lasted or told

    @property
    def holding(self) -> tuple[Member, ...]:
        """Pods that a deletion waits for though nobody can tell whether they work."""
        if not self.observation.jobworker.deleting:
            return ()
        if self.census.readable:
            return tuple(member for member in self.unknown if not member.pod.terminating)
        return tuple(member for member in self.census.members if not _goes_unasked(member.pod))

    @property
    def giving_up(self) -> str:
        """The command that gives up what the pods may hold."""
        key = self.observation.jobworker.key
        return f"kubectl delete pod -n {key.namespace} -l {selector(key.name)}"

    def told(self, kind: str) -> Mapping[str, Any]:
        """A condition as it stands in the status now; empty if there is none."""
        found: Mapping[str, Any] = next(
            (one for one in self.before.get("conditions") or () if one.get("type") == kind), {}
        )
        return found

    @property
    def unknown(self) -> tuple[Member, ...]:
        """Pods that the kubelet shows at work and Redis does not. One that has just begun may be ahead of our look."""
        if not self.census.readable:
            return ()
        begun = self.observation.now - _BEGINNING_SECONDS
        return tuple(
            member
            for member in self.census.members
            if member.state is PodState.UNKNOWN
            and member.pod.container_running
            and (member.pod.container_started_at or member.pod.created_at) <= begun
        )

    @property
    def excess(self) -> int:
        """Replicas that are too many and could not go yet."""
        return 0 if self.spec is None else excess(self.census, self.spec, self.desired)

    def why_not_started(self, member: Member) -> str:
        """What the container or the kubelet said, and where to look."""
        pod, crash = member.pod, member.pod.crash
        if crash is not None and pod.waiting_reason in _CRASH_LOOP:
            # The same words in back-off and in the life after it: the kubelet's own change at each turn.
            return f"pod {pod.name} is in CrashLoopBackOff {_last_life(crash)}; {self._crash_advice(pod.name, crash)}"
        if pod.waiting_reason:
            words = shorten(f"{pod.waiting_reason}: {pod.waiting_message}".rstrip(": "), _WORDS_LENGTH)
            return f"pod {pod.name} cannot start: {words}; {self._advice(member)}"
        if pod.unschedulable_message:
            return f"pod {pod.name} is not scheduled: {pod.unschedulable_message}"
        if self._is_unregistered(member, told=False):
            return self.why_not_registered(member)
        return f"pod {pod.name} is not ready; see kubectl describe pod -n {self._namespace} {pod.name}"

    @property
    def _namespace(self) -> str:
        return self.observation.jobworker.key.namespace

    def why_not_registered(self, member: Member) -> str:
        """It runs, and is no worker, or one that does not find its Redis."""
        pod = member.pod
        last = f"; its last life ended {_last_life(pod.crash)}" if pod.crash is not None else ""
        return (
            f"pod {pod.name} runs and has not registered in Redis: check that {self._container_path('')} is a worker "
            f"(jobworker run APP) and reaches the Redis of spec.redis; see kubectl logs -n {self._namespace} {pod.name}"
            f"{last}"
        )

    def _crash_advice(self, pod: str, crash: Crash) -> str:
        look = self._look_at_logs(pod, crash.container)
        if crash.words:
            return look
        # It said nothing, or it ended well: whatever it is, it may not be a worker.
        return f"{look}, and check that {self._container_path(crash.container)} runs a worker (jobworker run APP)"

    def _look_at_logs(self, pod: str, container: str) -> str:
        chosen = f" -c {container}" if container else ""
        return f"see kubectl logs -n {self._namespace} {pod}{chosen} --previous"

    def _advice(self, member: Member) -> str:
        pod = member.pod
        where = self._container_path(pod.waiting_container)
        if pod.waiting_reason == "CrashLoopBackOff":
            return self._look_at_logs(pod.name, pod.waiting_container)
        if pod.waiting_reason.startswith("CreateContainerConfig"):
            return f"check the Secrets and ConfigMaps that {where} and spec.redis name"
        if "Image" in pod.waiting_reason or pod.waiting_reason == "RegistryUnavailable":
            return f"check {where}.image"
        return f"check {where}"

    def _container_path(self, name: str) -> str:
        pod = {} if self.spec is None else self.spec.template.get("spec") or {}
        for kind in ("initContainers", "containers"):
            for index, container in enumerate(pod.get(kind) or ()):
                if container.get("name") == name:
                    return f"spec.template.spec.{kind}[{index}]"
        return f"spec.template.spec.containers[{worker_container_index(list(pod.get('containers') or ()))}]"


def _goes_unasked(pod: PodFacts) -> bool:
    return pod.terminating or pod.ended or runs_nothing(pod) or (pod.never_ran and not pod.scheduled)


def _last_life(crash: Crash) -> str:
    return f"({crash.how}): {crash.words}" if crash.words else f"({crash.how})"


def shorten(text: str, length: int) -> str:
    """The beginning of ``text``, of at most ``length`` characters."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def more(count: int) -> str:
    """The rest of a list of which one is told."""
    return f" (and {count - 1} more)" if count > 1 else ""
