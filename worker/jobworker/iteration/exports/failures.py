"""What a storage refuses, in words that say what to do."""

from __future__ import annotations

from typing import Any

from jobworker.errors import StorageError

NOT_FOUND = frozenset({"404", "NoSuchKey", "NotFound"})
_GONE = frozenset({"NoSuchUpload"})
_DIFFERS = frozenset({"InvalidPart", "InvalidPartOrder", "EntityTooSmall"})
_CHANGED = frozenset({"412", "PreconditionFailed", *NOT_FOUND})
_CREDENTIALS = frozenset({
    "ExpiredToken", "ExpiredTokenException", "InvalidAccessKeyId", "InvalidClientTokenId", "InvalidSecurity",
    "InvalidToken", "RequestExpired", "SignatureDoesNotMatch", "TokenRefreshRequired",
})  # fmt: skip
_REFUSED = frozenset({"403", "AccessDenied", "AllAccessDisabled", "Forbidden"})
_UNAUTHORIZED = frozenset({401, 403})
_FEWEST_SERVER_ERROR = 500
_RIGHTS = (
    "s3:PutObject, s3:GetObject, s3:DeleteObject, s3:AbortMultipartUpload and s3:ListMultipartUploadParts "
    "on its objects, and s3:ListBucket on itself"
)


_BUSY = frozenset({"SlowDown", "Throttling", "TooManyRequests"})
_LATER = "after several tries). The job goes on from here when it is tried again"


class UploadGone(StorageError):
    """The upload in parts is not there any more."""


class PartsDiffer(StorageError):
    """A part is not what it was when this job stored it."""


class ObjectChanged(StorageError):
    """The object is not what it was, or not there."""


_KINDS: tuple[tuple[frozenset[str], type[StorageError]], ...] = (
    (_GONE, UploadGone),
    (_DIFFERS, PartsDiffer),
    (_CHANGED, ObjectChanged),
)


def told(error: Any, doing: str, bucket: str) -> StorageError:
    """What boto3 raised, for people. ``doing`` is what was tried, as in "store part 3 of x.csv"."""
    response = getattr(error, "response", None)
    if response is None:
        return StorageError(f"could not {doing} in {bucket}: {_without_answer(error)}")
    code = str(response.get("Error", {}).get("Code", "")) or "no code"
    message = str(response.get("Error", {}).get("Message", "")) or "no message"
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    said = f"could not {doing} in {bucket}: {code}: {message}"
    for codes, kind in _KINDS:
        if code in codes:
            return kind(said)
    return StorageError(f"{said}{_advice(code, status)}")


def _advice(code: str, status: int) -> str:
    if code == "NoSuchBucket":
        return " Create the bucket, or correct its name or endpoint; the job goes on when it is tried again"
    if code in _CREDENTIALS:
        return " Renew the credentials of this worker; the job goes on when it is tried again"
    if code in _REFUSED or status in _UNAUTHORIZED:
        return f" Allow this worker {_RIGHTS}; the job goes on when it is tried again"
    if code in _BUSY or status >= _FEWEST_SERVER_ERROR:
        return f" ({_LATER}"
    return ""


def _without_answer(error: Any) -> str:
    match type(error).__name__:
        case "NoCredentialsError" | "PartialCredentialsError" | "CredentialRetrievalError":
            return (
                f"{error}. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the pod's service account a role "
                f"that allows {_RIGHTS}"
            )
        case "NoRegionError":
            return f"{error} Set AWS_DEFAULT_REGION, or give S3Bucket its region"
        case "ParamValidationError":
            return f"{error}"
        case _:
            return f"{error} ({_LATER}"
