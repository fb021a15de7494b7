"""Gives back what a dead worker held, after making sure that it is dead.

The watch may lag behind the world: a worker without a known pod may live in a pod that is not shown yet. So before
anybody vouches for the end of a whole pod, the API server itself is asked.
"""

from __future__ import annotations

import logging

from jobworker.protocol.records import RescueAnswer
from jobworker_operator.act.events import EventRecorder
from jobworker_operator.act.work import Report, Work
from jobworker_operator.adapters.port import WorkerAdapter
from jobworker_operator.kube.client import Kube
from jobworker_operator.kube.errors import NotFound
from jobworker_operator.kube.resources import PODS
from jobworker_operator.model.actions import Event, RescueWorker
from jobworker_operator.model.spec import Key
from jobworker_operator.model.words import counted

log = logging.getLogger(__name__)

AGAIN_SECONDS = 1.0


class Rescuer:
    """Rescues, and tells how many jobs it has moved."""

    def __init__(self, kube: Kube, events: EventRecorder) -> None:
        self._kube = kube
        self._events = events

    async def rescue(self, work: Work, action: RescueWorker, report: Report) -> None:
        """Give back what the worker held, unless it turns out to live."""
        key = work.jobworker.key
        adapter = work.adapter(action.uid)
        if adapter is None:
            report.again_in(AGAIN_SECONDS)
            return
        if action.epoch is None and await self._pod_lives(key, action.uid, adapter):
            log.info("Worker %s lives after all, nothing of it is given back", action.uid)
            report.again_in(AGAIN_SECONDS)
            return
        rescued = await adapter.rescue(
            action.uid, str(key), epoch=action.epoch, planned=action.planned, forget=action.forget
        )
        report.touched = True
        if rescued.answer is not RescueAnswer.OK:
            log.info("Worker %s lives on (%s), nothing of it is given back", action.uid, rescued.answer.value)
            report.again_in(AGAIN_SECONDS)
        if rescued.moved:
            sentence = f"Gave back {counted(rescued.moved, 'job')}, because {action.cause}"
            if rescued.poisoned:
                sentence += f"; {rescued.poisoned} went to the dead set, for they were held through too many deaths"
            log.warning("%s", sentence)
            self._events.post(work.jobworker, Event("JobsRescued", sentence, "Warning"))

    async def _pod_lives(self, key: Key, uid: str, adapter: WorkerAdapter) -> bool:
        name = await adapter.pod_of(uid)
        if name is None:
            return False  # not registered: every script of such a life is refused, whether it lives or not
        try:
            pod = await self._kube.get(PODS, key.namespace, name)
        except NotFound:
            return False
        ended = (pod.get("status") or {}).get("phase") in {"Failed", "Succeeded"}
        return bool(pod["metadata"]["uid"] == uid) and not ended
