"""The revision: a short name for everything that makes pods of one spec different from pods of another.

Replicas, rollout, drain and scaling are left out, so a change of these restarts nobody.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from jobworker_operator.model.names import RESTARTED_AT_ANNOTATION
from jobworker_operator.model.spec import InvalidSpec, JobWorker, JobWorkerSpec

_LENGTH = 10


def revision_of(jobworker: JobWorker) -> str:
    """Ten characters, the same for the same content in any order of keys.

    Raises:
        InvalidSpec: there is no spec to make pods from.
    """
    if jobworker.spec is None:
        raise InvalidSpec(jobworker.problem)
    content = {
        **_content(jobworker.spec),
        "restartedAt": jobworker.annotations.get(RESTARTED_AT_ANNOTATION, ""),
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:_LENGTH]


def _content(spec: JobWorkerSpec) -> dict[str, Any]:
    # Field by field, and not the dataclass as a whole: a field that a later operator adds must leave the hash of a spec
    # that does not use it as it was, or an upgrade of the operator would restart every pod of the cluster.
    worker, redis = spec.worker, spec.redis
    return {
        "template": spec.template,
        "worker": {
            "runtime": worker.runtime,
            "queues": [[queue.name, queue.weight] for queue in worker.queues],
            "order": worker.order,
            "concurrency": worker.concurrency,
        },
        "redis": {
            "url": redis.url,
            "secret": None if redis.secret is None else [redis.secret.name, redis.secret.key],
            "keyPrefix": redis.key_prefix,
        },
    }
