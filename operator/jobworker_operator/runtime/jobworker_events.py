"""kopf: logs in and watches JobWorkers. Its one handler stores and pokes; everything that decides is ours.

No handler of kopf's that keeps state is used, so it writes no annotation and no finalizer. Any error event on its
watch but 410 ends it, and then the process ends too: the kubelet starts a new one, which loses nothing.
"""

from __future__ import annotations

import asyncio
from typing import Any

import kopf

from jobworker_operator.kube.access import Access
from jobworker_operator.kube.resources import JOBWORKERS
from jobworker_operator.model.spec import Key
from jobworker_operator.observe.jobworkers import JobWorkerStore
from jobworker_operator.runtime.settings import Settings

_REQUEST_SECONDS = 15.0


async def watch_jobworkers(access: Access, store: JobWorkerStore, settings: Settings, ready: asyncio.Event) -> None:
    """Feed ``store`` until cancelled. ``ready`` is set when kopf serves.

    Beware: kopf replaces the handlers of SIGTERM and SIGINT before it sets ``ready``, and on its way out cancels every
    task that is younger than itself.
    """
    await kopf.operator(
        registry=_registry(access, store),
        settings=_settings(),
        standalone=True,
        # kopf would ask for the name of the user, and the container's uid has none.
        identity=settings.instance or "jobworker-operator",  # type: ignore[arg-type]  # its NewType has no public name
        clusterwide=not settings.namespaces,
        namespaces=settings.namespaces,
        ready_flag=ready,
    )


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True  # neither CRDs nor Namespaces are ours to watch
    settings.watching.chunk_size = 500
    settings.queueing.idle_timeout = 0.5
    settings.queueing.worker_limit = None
    settings.networking.request_timeout = _REQUEST_SECONDS
    return settings


def _registry(access: Access, store: JobWorkerStore) -> kopf.OperatorRegistry:
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    async def log_in(**_: Any) -> kopf.ConnectionInfo:
        scheme, _space, token = (await access.authorization() or "").partition(" ")
        return kopf.ConnectionInfo(
            server=access.server,
            ca_path=access.ca_file,
            insecure=not access.verify,
            certificate_path=access.cert_file,
            private_key_path=access.key_file,
            scheme=scheme or None,
            token=token or None,
        )

    @kopf.on.event(JOBWORKERS.group, JOBWORKERS.version, JOBWORKERS.plural, registry=registry)
    async def tell(event: kopf.RawEvent, **_: Any) -> None:
        obj: dict[str, Any] = dict(event["object"])
        if event["type"] == "DELETED":
            metadata = obj["metadata"]
            store.drop(Key(metadata["namespace"], metadata["name"]), metadata["uid"])
        else:
            store.put(obj)

    return registry
