"""What storages refuse is told so that whoever is on call knows what to do."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import (  # type: ignore[import-untyped]  # it has no types
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
)

from jobworker.errors import StorageError
from jobworker.iteration.exports.failures import ObjectChanged, PartsDiffer, UploadGone, told

AGAIN = "The job goes on from here when it is tried again"


def refusal(code: str, status: int = 400) -> Any:
    answer = {"Error": {"Code": code, "Message": "So it is."}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "UploadPart")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (refusal("SlowDown", 503), AGAIN),
        (refusal("InternalError", 500), AGAIN),
        (refusal("TooManyRequests", 429), AGAIN),
        (EndpointConnectionError(endpoint_url="http://s3"), AGAIN),
        (ConnectTimeoutError(endpoint_url="http://s3"), AGAIN),
        (refusal("ExpiredToken"), "Renew the credentials of this worker"),
        (refusal("RequestExpired"), "Renew the credentials of this worker"),
        (refusal("AccessDenied", 403), "Allow this worker s3:PutObject"),
        (refusal("SomethingNew", 403), "Allow this worker s3:PutObject"),
        (refusal("NoSuchBucket", 404), "Create the bucket, or correct its name"),
        (NoCredentialsError(), "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the pod's service account"),
        (NoRegionError(), "Set AWS_DEFAULT_REGION, or give S3Bucket its region"),
    ],
)
def test_refusal_names_what_to_do(error: Any, expected: str) -> None:
    found = told(error, "store part 3 of x.csv", "bucket reports")
    assert type(found) is StorageError
    assert str(found).startswith("could not store part 3 of x.csv in bucket reports: ")
    assert expected in str(found)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("NoSuchUpload", UploadGone),
        ("InvalidPart", PartsDiffer),
        ("EntityTooSmall", PartsDiffer),
        ("PreconditionFailed", ObjectChanged),
        ("NoSuchKey", ObjectChanged),
        ("404", ObjectChanged),
        ("SomethingNew", StorageError),
    ],
)
def test_refusal_that_the_export_can_deal_with_has_a_kind_of_its_own(code: str, kind: type[StorageError]) -> None:
    found = told(refusal(code), "complete x.csv", "bucket reports")
    assert type(found) is kind
    assert f"{code}: So it is." in str(found)


def test_answer_without_anything_is_told_too() -> None:
    found = told(ClientError({}, "PutObject"), "store x", "bucket b")
    assert str(found) == "could not store x in bucket b: no code: no message"
