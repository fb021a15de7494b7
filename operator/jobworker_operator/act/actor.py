"""Carries out a plan, action by action, in its order.

Every step can be repeated: whoever dies in between leaves a state from which the next reconcile, of this process or
another, goes on.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from typing import Any, assert_never

from redis.exceptions import RedisError

from jobworker_operator.act.budget import WriteBudget
from jobworker_operator.act.creation import PodCreator
from jobworker_operator.act.events import EventRecorder
from jobworker_operator.act.expectations import Expectations
from jobworker_operator.act.finalizer import write_finalizer
from jobworker_operator.act.removal import OnDelete, Remover
from jobworker_operator.act.rescuing import Rescuer
from jobworker_operator.act.work import Report, Work
from jobworker_operator.kube.client import Kube
from jobworker_operator.kube.errors import Conflict, Forbidden, Invalid, NotFound
from jobworker_operator.kube.resources import JOBWORKERS
from jobworker_operator.model.actions import (
    Action,
    AddFinalizer,
    CreatePod,
    DeletePod,
    Event,
    QuietPod,
    RemoveFinalizer,
    RescueWorker,
    RetirePod,
    SetReplicas,
    UnquietPod,
)
from jobworker_operator.model.facts import PodFacts
from jobworker_operator.model.spec import JobWorker, Key

log = logging.getLogger(__name__)

CONFLICT_SECONDS = 0.2


class Actor:
    """``learn`` is handed JobWorkers as they come back from a patch, ``shown`` tells what the watch shows of a pod."""

    def __init__(
        self,
        kube: Kube,
        events: EventRecorder,
        budget: WriteBudget,
        expectations: Expectations,
        *,
        learn: Callable[[dict[str, Any]], None],
        shown: Callable[[Key, str], PodFacts | None],
        on_delete: OnDelete,
    ) -> None:
        self._kube = kube
        self._events = events
        self._budget = budget
        self._closing = events.closing
        self._learn = learn
        self._creator = PodCreator(kube, budget, expectations, shown, events.closing)
        self._remover = Remover(kube, budget, expectations, shown, on_delete)
        self._rescuer = Rescuer(kube, events)

    def problems(self, key: Key) -> tuple[str, ...]:
        """Sentences about writes that were refused lately."""
        problem = self._creator.problem(key)
        return () if problem is None else (problem,)

    def forget(self, jobworker: JobWorker) -> None:
        """The JobWorker is gone."""
        self._creator.forget(jobworker.key)
        self._events.forget(jobworker.key, jobworker.uid)
        self._closing.forget(jobworker.uid)

    async def carry_out(self, work: Work) -> Report:
        """Do what the plan says and post its Events.

        An action that fails on Redis is passed over and told in the report: the next pod may be in better shape.

        Raises:
            KubeError: the API server did not take a write; what comes after it in the plan was not tried.
        """
        report = Report()
        creates = 0
        for kind, group in itertools.groupby(work.plan.actions, type):
            if kind is CreatePod:
                creates += await self._create(
                    work, [action for action in group if isinstance(action, CreatePod)], report
                )
                continue
            for action in group:
                try:
                    await self._one(work, action, report)
                except (RedisError, OSError, TimeoutError) as error:
                    report.failures.append(f"{type(action).__name__}: {str(error) or type(error).__name__}")
                    log.warning("Could not carry out %s, trying again: %s", action, error)
        if not creates and work.settled:
            self._creator.forget(work.jobworker.key)
        for event in work.plan.events:
            self._events.post(work.jobworker, event)
        return report

    async def _create(self, work: Work, actions: list[CreatePod], report: Report) -> int:
        for revision, group in itertools.groupby(actions, lambda action: action.revision):
            report.again_in(await self._creator.create(work.jobworker, revision, len(list(group))))
        return len(actions)

    async def _one(self, work: Work, action: Action, report: Report) -> None:
        done: bool = True
        event: Event | None = None
        match action:
            case RetirePod(event=event):
                done = await self._remover.retire(work, action, report)
            case QuietPod(event=event):
                done = await self._remover.quiet(work, action, report)
            case UnquietPod(event=event):
                done = await self._remover.unquiet(work, action, report)
            case DeletePod(event=event):
                done = await self._remover.delete(work, action, report)
            case SetReplicas(event=event):
                done = await self._set_replicas(work.jobworker, action, report)
            case RescueWorker():
                await self._rescuer.rescue(work, action, report)
            case AddFinalizer():
                # Nothing that follows may happen without it: pods of a JobWorker that can vanish are nobody's.
                await write_finalizer(self._kube, self._budget, work.jobworker, self._learn, present=True)
            case RemoveFinalizer():
                await write_finalizer(self._kube, self._budget, work.jobworker, self._learn, present=False)
            case CreatePod():
                raise AssertionError("pods are created in groups")
            case _:
                assert_never(action)
        if done and event is not None:
            self._events.post(work.jobworker, event)

    async def _set_replicas(self, jobworker: JobWorker, action: SetReplicas, report: Report) -> bool:
        key = jobworker.key
        # The version is tested, so that somebody's `kubectl scale` of this second is seen before it is overwritten.
        body = {
            "metadata": {"uid": jobworker.uid, "resourceVersion": jobworker.resource_version},
            "spec": {"replicas": action.replicas},
        }
        await self._budget.take()
        try:
            self._learn(await self._kube.patch(JOBWORKERS, key.namespace, key.name, body))
        except Conflict:
            report.again_in(CONFLICT_SECONDS)
            return False
        except NotFound:
            return False
        except (Invalid, Forbidden) as error:
            sentence = f"replicas cannot be set to {action.replicas}: {error}"
            report.failures.append(sentence)
            self._events.post(jobworker, Event("FailedScale", sentence, "Warning"))
            return False
        log.info("Set replicas to %d: %s", action.replicas, action.reason)
        return True
