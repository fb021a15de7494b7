"""Every way in which a call to the API server fails, in one tree.

    KubeError
    ├── NotFound         404: the object is not there
    ├── Conflict         409: somebody changed it first, or a precondition did not hold
    ├── Expired          410: the version to list or watch from is no longer known; list again
    ├── Unauthorized     401: the credentials were not accepted
    ├── Forbidden        403: RBAC, a quota or Pod Security refuses
    │   └── NamespaceTerminating: nothing can be created there any more
    ├── Invalid          400, 422: the object can never be accepted as it is
    └── Unavailable      no answer, 429 or 5xx: ask again later

The text is a sentence for the person who reads the log: what was asked, and the server's own words.
"""

from __future__ import annotations

from typing import Any


class KubeError(Exception):
    """A call to the API server failed. ``status`` is the HTTP status, 0 where there was no answer.

    ``words`` are the server's own, without what was asked.
    """

    def __init__(self, message: str, status: int = 0, words: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.words = words or message


class NotFound(KubeError):
    """The object, or the kind, is not there."""


class Conflict(KubeError):
    """Somebody changed the object first, or a precondition did not hold. Look again and decide anew."""


class Expired(KubeError):
    """The server no longer knows the version to go on from. List again."""


class Unauthorized(KubeError):
    """The credentials were not accepted. Check the service account's token or the kubeconfig."""


class Forbidden(KubeError):
    """RBAC, a ResourceQuota or Pod Security refuses. The message tells which."""


class NamespaceTerminating(Forbidden):
    """The namespace is being deleted, so nothing can be created in it. Trying again is of no use."""


class Invalid(KubeError):
    """The object can never be accepted as it is. Change it; trying again is of no use."""


class Unavailable(KubeError):
    """No answer, too many requests, or an error inside the server. Try again later."""


_BY_STATUS: dict[int, type[KubeError]] = {
    400: Invalid,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Expired,
    422: Invalid,
}


def error_of(status: int, asked: str, body: Any) -> KubeError:
    """The error that a failed answer means; ``body`` is its Status object, if it was one."""
    words = str(body.get("message") or body.get("reason") or "") if isinstance(body, dict) else ""
    kind = _BY_STATUS.get(status, Unavailable)
    if kind is Forbidden and _terminating(body):
        kind = NamespaceTerminating
    words = words or "the API server gave no reason"
    return kind(f"{asked}: {words} (HTTP {status})", status, words)


def _terminating(body: Any) -> bool:
    details = (body.get("details") or {}) if isinstance(body, dict) else {}
    return any(cause.get("reason") == "NamespaceTerminating" for cause in details.get("causes") or ())
