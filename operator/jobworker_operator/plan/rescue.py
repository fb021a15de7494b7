"""Jobs of the dead go back to the living.

A worker is dead when the API server says that its pod or container is gone *and* it has fallen silent in Redis. The
second witness is asked because the first one lags: a container may have been restarted, or a new pod may have
registered, before its pod's status tells; and a pod deleted by force may run on for its grace period.
"""

from __future__ import annotations

from collections.abc import Iterator

from jobworker_operator.model.actions import RescueWorker
from jobworker_operator.model.facts import Observation, PodFacts, RedisFacts, WorkerActivity
from jobworker_operator.plan.drain import Census

SILENT_SECONDS = 2.0
"""Two beats. Whoever beat later than that may be at work, though the API server shows the end of its pod."""

_CLOCK_SKEW_SECONDS = 5.0  # between a node's clock and Redis'


def rescues(observation: Observation, census: Census) -> Iterator[RescueWorker]:
    """Rescues for living pods whose container died, and for workers that have no pod any more."""
    redis = observation.redis
    if not isinstance(redis, RedisFacts):
        return
    for member in census.members:
        activity = member.activity
        if activity is not None and not member.pod.ended and life_is_over(member.pod, activity, observation.now):
            yield RescueWorker(
                uid=member.pod.uid,
                epoch=activity.epoch,
                planned=planned(member.pod),
                forget=False,
                cause=f"the container of pod {member.pod.name} ended{_how(member.pod)}",
            )
        elif activity is not None and _leaves_quiet_behind(member.pod, activity):
            yield RescueWorker(
                uid=member.pod.uid, epoch=None, planned=True, forget=True, cause=f"pod {member.pod.name} has ended"
            )
    shown = {pod.uid for pod in observation.pods}
    for uid in redis.orphans:
        # A pod object vanishes only when somebody deletes it: a crash leaves it there. So no job is to blame.
        if uid not in shown and is_silent(redis.activities.get(uid, WorkerActivity())):
            yield RescueWorker(uid=uid, epoch=None, planned=True, forget=True, cause=f"the pod with UID {uid} is gone")


def _how(pod: PodFacts) -> str:
    return f" ({pod.container_ended})" if pod.container_ended else ""


def rescue_of_lost(pod: PodFacts, activity: WorkerActivity) -> RescueWorker | None:
    """What to do for a pod that ended for good, before its object is deleted. None: there is nothing to do."""
    if activity.epoch is None and not activity.busy and activity.quiet is None:
        return None
    words = f"{pod.status_reason}: {pod.status_message}".strip(": ")
    cause = f"pod {pod.name} ended{f' ({words})' if words else ''}"
    return RescueWorker(uid=pod.uid, epoch=None, planned=planned(pod), forget=True, cause=cause)


def planned(pod: PodFacts) -> bool:
    """Somebody ended it on purpose, or the cluster did: no job is to blame."""
    return pod.removal is not None or pod.terminating or pod.disrupted


def is_silent(activity: WorkerActivity) -> bool:
    """It does not beat any more."""
    age = activity.beat_age_seconds
    return not activity.alive or age is None or age >= SILENT_SECONDS


def _leaves_quiet_behind(pod: PodFacts, activity: WorkerActivity) -> bool:
    """Its worker has left for good and cleanly: the quiet fact, which has no end of its own, is all that remains."""
    left = activity.epoch is None and not activity.busy and activity.quiet is not None
    return left and pod.terminating and pod.container_ever_started and not pod.container_running


def life_is_over(pod: PodFacts, activity: WorkerActivity, now: float) -> bool:
    """The life that Redis shows has ended: by its container's end, or because the container began anew since.

    Only when its heartbeat has expired: a watch that lags may show the end of the life before, and then a short
    silence would be all that speaks against a worker at its work.
    """
    if activity.epoch is None or activity.alive:
        return False
    if not pod.container_running:
        return True
    if activity.beat_age_seconds is None or pod.container_started_at is None:
        return False
    return pod.container_started_at - (now - activity.beat_age_seconds) > _CLOCK_SKEW_SECONDS
