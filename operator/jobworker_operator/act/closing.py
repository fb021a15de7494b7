"""JobWorkers whose namespace is being deleted: the API server creates nothing there any more, neither pods nor Events.

That is no fault of anybody's, and it never ends otherwise, so it is said once and not tried again.
"""

from __future__ import annotations

import logging

from jobworker_operator.model.spec import JobWorker

log = logging.getLogger(__name__)


class Closing:
    """By the JobWorker's UID, for a namespace may be created again under its name."""

    def __init__(self) -> None:
        self._uids: set[str] = set()

    def __contains__(self, jobworker: JobWorker) -> bool:
        return jobworker.uid in self._uids

    def add(self, jobworker: JobWorker) -> None:
        """The API server said so."""
        if jobworker.uid not in self._uids:
            self._uids.add(jobworker.uid)
            log.info(
                "Namespace %s is being deleted: for %s no pod is created any more, and no Event",
                jobworker.key.namespace, jobworker.key,
            )  # fmt: skip

    def forget(self, uid: str) -> None:
        """The JobWorker is gone."""
        self._uids.discard(uid)
