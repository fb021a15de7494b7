"""What the status speaks about: one look at the facts, shared by conditions, summary and events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jobworker_operator.model.facts import Observation, Unreadable
from jobworker_operator.model.parse_spec import worker_container_index
from jobworker_operator.model.spec import JobWorkerSpec
from jobworker_operator.plan.drain import Census, Member, PodState
from jobworker_operator.plan.rollout import is_late
from jobworker_operator.plan.scaling import Decision
from jobworker_operator.plan.victims import excess

_BEGINNING_SECONDS = 10.0
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
        """Replicas that cannot start, those of the wanted revision first."""
        return tuple(
            sorted(
                (member for member in self.census.replicas if member.cannot_start),
                key=lambda member: not member.updated,
            )
        )

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
        """The kubelet's words, and where to look."""
        pod = member.pod
        if pod.waiting_reason:
            words = shorten(f"{pod.waiting_reason}: {pod.waiting_message}".rstrip(": "), _WORDS_LENGTH)
            return f"pod {pod.name} cannot start: {words}; {self._advice(member)}"
        if pod.unschedulable_message:
            return f"pod {pod.name} is not scheduled: {pod.unschedulable_message}"
        return f"pod {pod.name} is not ready; see kubectl describe pod -n {self._namespace} {pod.name}"

    @property
    def _namespace(self) -> str:
        return self.observation.jobworker.key.namespace

    def _advice(self, member: Member) -> str:
        pod = member.pod
        where = self._container_path(pod.waiting_container)
        if pod.waiting_reason == "CrashLoopBackOff":
            container = f" -c {pod.waiting_container}" if pod.waiting_container else ""
            return f"see kubectl logs -n {self._namespace} {pod.name}{container} --previous"
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


def shorten(text: str, length: int) -> str:
    """The beginning of ``text``, of at most ``length`` characters."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def more(count: int) -> str:
    """The rest of a list of which one is told."""
    return f" (and {count - 1} more)" if count > 1 else ""
