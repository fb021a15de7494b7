"""Where a JobWorker's Redis is: a URL from its spec, or a key of a Secret.

A Secret is read by name (never listed or watched), kept for a few minutes, and read again at once when Redis refuses
what it said, for then a password may have been changed.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from jobworker_operator.kube.client import Kube
from jobworker_operator.kube.errors import Forbidden, KubeError, NotFound
from jobworker_operator.kube.resources import SECRETS
from jobworker_operator.model.facts import Unreadable
from jobworker_operator.model.spec import RedisSpec, SecretKey

log = logging.getLogger(__name__)

KEEP_SECONDS = 180.0
RETRY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Home:
    """Where workers of a namespace tell what they do."""

    namespace: str
    redis: RedisSpec


@dataclass(slots=True)
class _Secret:
    values: Mapping[str, str] | None = None
    problem: str = ""
    read_at: float = 0.0
    reading: asyncio.Task[None] | None = field(default=None, repr=False)


class Addresses:
    """Answers from memory; what is missing or old is read in the background."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self._secrets: dict[tuple[str, str], _Secret] = {}

    def of(self, home: Home) -> str | Unreadable | None:
        """The URL, why there is none, or None while the Secret is being read for the first time."""
        if home.redis.secret is None:
            return home.redis.url or ""
        secret = self._secret(home.namespace, home.redis.secret)
        if secret.values is None:
            return Unreadable("SecretMissing", secret.problem) if secret.problem else None
        url = secret.values.get(home.redis.secret.key)
        if url is None:
            return Unreadable("SecretMissing", _missing_key(home.namespace, home.redis.secret))
        return url

    def suspect(self, home: Home) -> None:
        """Redis refused what the Secret said: read it again, unless that was just done."""
        if home.redis.secret is not None:
            known = self._secrets.get((home.namespace, home.redis.secret.name))
            if known is not None and time.monotonic() - known.read_at > RETRY_SECONDS:
                known.read_at = float("-inf")

    def _secret(self, namespace: str, wanted: SecretKey) -> _Secret:
        secret = self._secrets.setdefault((namespace, wanted.name), _Secret(read_at=float("-inf")))
        complete = secret.values is not None and wanted.key in secret.values
        age = time.monotonic() - secret.read_at
        if secret.reading is None and age > (KEEP_SECONDS if complete else RETRY_SECONDS):
            secret.reading = asyncio.create_task(self._read(namespace, wanted, secret), name="secret")
        return secret

    async def _read(self, namespace: str, wanted: SecretKey, secret: _Secret) -> None:
        try:
            obj = await self._kube.get(SECRETS, namespace, wanted.name)
            secret.values, secret.problem = _decoded(obj.get("data") or {}), ""
        except NotFound:
            secret.values, secret.problem = None, _missing_secret(namespace, wanted)
        except Forbidden:
            secret.values = None
            secret.problem = (
                f"the operator may not read Secret {namespace}/{wanted.name} and cannot tell whether it exists: "
                f"create it if kubectl get secret {wanted.name} -n {namespace} shows none; in any case add {namespace} "
                "to secretNamespaces in the chart's values, or bind a Role that allows get on it"
            )
        except KubeError as error:
            # What was known stays: an API server that is away does not change a password.
            secret.problem = f"Secret {namespace}/{wanted.name} could not be read: {error}"
            log.warning("Cannot read Secret %s/%s, trying again: %s", namespace, wanted.name, error)
        finally:
            secret.read_at = time.monotonic()
            secret.reading = None


def _decoded(data: Mapping[str, str]) -> dict[str, str]:
    values = {}
    for name, value in data.items():
        try:
            values[name] = base64.b64decode(value).decode().strip()
        except (binascii.Error, UnicodeDecodeError):
            continue  # some other key's binary content; a missing key is told by its own sentence
    return values


def _missing_secret(namespace: str, wanted: SecretKey) -> str:
    return (
        f"Secret {namespace}/{wanted.name} does not exist; create it with "
        f"kubectl create secret generic {wanted.name} -n {namespace} --from-literal={wanted.key}=redis://…"
    )


def _missing_key(namespace: str, wanted: SecretKey) -> str:
    return (
        f"Secret {namespace}/{wanted.name} has no key {wanted.key}; add it with kubectl patch secret {wanted.name} "
        f'-n {namespace} -p \'{{"stringData":{{"{wanted.key}":"redis://…"}}}}\''
    )
