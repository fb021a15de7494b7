"""Takes pods out of service, back into it, and deletes them when they are drained.

The order is always: the fact in Redis first, then the annotation on the pod. RACE dying in between: the next
reconcile sees a worker that is quiet for a reason of the operator's and a pod without annotation, and goes on from
there. The other way round an annotated pod would still take jobs, and be taken for one that does not.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import assert_never

from jobworker.protocol.records import DrainAnswer
from jobworker_operator.act.budget import WriteBudget
from jobworker_operator.act.expectations import Expectations, Shows
from jobworker_operator.act.work import Report, Work
from jobworker_operator.kube.client import Kube
from jobworker_operator.kube.errors import Conflict, NotFound
from jobworker_operator.kube.resources import PODS
from jobworker_operator.model.actions import DeletePod, QuietPod, RetirePod, UnquietPod
from jobworker_operator.model.facts import PodFacts, Removal, RemovalReason
from jobworker_operator.model.names import REMOVAL_ANNOTATION, quiet_reason
from jobworker_operator.model.parse import removal_annotation
from jobworker_operator.model.spec import Key
from jobworker_operator.model.words import counted

log = logging.getLogger(__name__)

AGAIN_SECONDS = 0.2  # after a pod that was not drained yet, or had changed
NO_REDIS_SECONDS = 1.0

OnDelete = Callable[[Key, PodFacts, RemovalReason], None]
"""Called when a deletion was accepted."""


class Remover:
    """``shown`` tells what the watch shows of a pod at this moment."""

    def __init__(
        self,
        kube: Kube,
        budget: WriteBudget,
        expectations: Expectations,
        shown: Callable[[Key, str], PodFacts | None],
        on_delete: OnDelete,
    ) -> None:
        self._kube = kube
        self._budget = budget
        self._expectations = expectations
        self._shown = shown
        self._on_delete = on_delete

    async def retire(self, work: Work, action: RetirePod, report: Report) -> bool:
        """True if it held nothing and is quiet now; else nothing was changed."""
        adapter = work.adapter(action.uid)
        if adapter is None:
            report.again_in(NO_REDIS_SECONDS)
            return False
        report.touched = True
        held = await adapter.retire(action.uid, quiet_reason(action.reason))
        if held:
            log.info("Pod %s took a job before it could be retired, it works on", action.name)
            return False
        log.info("Retired pod %s, which held nothing (%s)", action.name, action.reason)
        await self._annotate(work, action.uid, action.name, action.reason)
        return True

    async def quiet(self, work: Work, action: QuietPod, report: Report) -> bool:
        """From here on the pod takes no more jobs."""
        adapter = work.adapter(action.uid)
        if adapter is None:
            report.again_in(NO_REDIS_SECONDS)
            return False
        report.touched = True
        held = await adapter.quiet(action.uid, quiet_reason(action.reason))
        log.info("Quieted pod %s, which holds %s (%s)", action.name, counted(held, "job"), action.reason)
        await self._annotate(work, action.uid, action.name, action.reason)
        return True

    async def unquiet(self, work: Work, action: UnquietPod, report: Report) -> bool:
        """The pod takes jobs again."""
        adapter = work.adapter(action.uid)
        if adapter is None:
            report.again_in(NO_REDIS_SECONDS)
            return False
        # The annotation goes first here: what is left by a death in between is quiet, never a pod that takes jobs
        # while it is counted as leaving.
        pod = work.pods.get(action.uid)
        if pod is not None and pod.removal is not None:
            await self._patch(work.jobworker.key, action.uid, action.name, None)
        report.touched = True
        await adapter.unquiet(action.uid)
        log.info("Pod %s takes jobs again", action.name)
        return True

    async def delete(self, work: Work, action: DeletePod, report: Report) -> bool:
        """Delete the pod if it is drained at this very moment and still in the state that was looked at."""
        # The right to write comes before the question: an answer must not grow old while it waits for a turn.
        await self._budget.take()
        if not action.unconfirmed and not await self._confirmed(work, action, report):
            return False
        key = work.jobworker.key
        try:
            await self._kube.delete(
                PODS, key.namespace, action.name, uid=action.uid, resource_version=action.resource_version
            )
        except NotFound:
            return False
        except Conflict:
            report.again_in(AGAIN_SECONDS)
            return False
        pod = work.pods.get(action.uid)
        self._expectations.expect(key, action.uid, Shows.GOING, self._shown(key, action.uid))
        log.info("Deleted pod %s (%s)", action.name, action.reason)
        if pod is not None:
            self._on_delete(key, pod, action.reason)
        return True

    async def _confirmed(self, work: Work, action: DeletePod, report: Report) -> bool:
        adapter = work.adapter(action.uid)
        if adapter is None:
            report.again_in(NO_REDIS_SECONDS)
            return False
        answer = await adapter.confirm_drained(
            action.uid, quiet_reason(action.reason), action.epoch, action.checkpoint_max_age_seconds
        )
        match answer:
            case DrainAnswer.DRAINED:
                return True
            case DrainAnswer.CHECKPOINTED:
                if action.checkpoint_max_age_seconds is not None:
                    return True
            case DrainAnswer.REQUIETED:
                log.warning("Redis had forgotten that pod %s is quiet; it is quiet again and drains anew", action.name)
            case DrainAnswer.HELD | DrainAnswer.RUNNING | DrainAnswer.MOVED:
                log.debug("Pod %s is not drained yet: %s", action.name, answer.value)
            case _:
                assert_never(answer)
        report.touched = True
        report.again_in(AGAIN_SECONDS)
        return False

    async def _annotate(self, work: Work, uid: str, name: str, reason: RemovalReason) -> None:
        pod = work.pods.get(uid)
        known = None if pod is None else pod.removal
        if known is not None and known.reason == reason:
            return
        # A second reason takes over the first one's time: that is when the pod began to leave.
        removal = Removal(reason, self._kube.now() if known is None else known.since)
        await self._patch(work.jobworker.key, uid, name, removal)

    async def _patch(self, key: Key, uid: str, name: str, removal: Removal | None) -> None:
        text = None if removal is None else removal_annotation(removal)
        # The UID keeps the patch from a pod that has taken over the name.
        body = {"metadata": {"uid": uid, "annotations": {REMOVAL_ANNOTATION: text}}}
        await self._budget.take()
        try:
            await self._kube.patch(PODS, key.namespace, name, body)
        except (NotFound, Conflict):
            return  # it is gone, and with it the need to say why
        shows = Shows.UNMARKED if removal is None else Shows.MARKED
        self._expectations.expect(key, uid, shows, self._shown(key, uid))
