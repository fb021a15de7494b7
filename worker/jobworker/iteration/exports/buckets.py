"""A bucket of object storage, by the S3 API: of AWS, of Google's XML API, of any server that speaks it.

The client comes with the extra ``jobworker[s3]``. Its calls are plain and thread-safe; what the storage refuses is told
as `StorageError`, in words for whoever is on call.
"""

from __future__ import annotations

import base64
import hashlib
import importlib
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from jobworker.errors import ConfigurationError
from jobworker.iteration.exports.failures import NOT_FOUND, told

_LONGEST_LINK = timedelta(days=7)  # the bound of signatures of version 4
_GOOGLE = "x-goog-meta-"  # in front of the names of metadata that Google's storage gives back
_CONNECT_SECONDS = 5
_READ_SECONDS = 60
_TRIES = 5  # with growing pauses in between; then the job fails and is tried again as jobs are

_clients: dict[tuple[int, str | None, str | None], Any] = {}
_making = threading.Lock()


@dataclass(frozen=True, slots=True)
class Found:
    """An object that is there."""

    size: int
    etag: str
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class S3Bucket:
    """A bucket. Credentials come from where AWS's own tools have them: environment, files, the role of the pod.

    ``endpoint`` is the address of another server than AWS's, by default AWS_ENDPOINT_URL_S3; Google's takes HMAC keys
    and is https://storage.googleapis.com. ``region`` is by default AWS_DEFAULT_REGION.

    What an unfinished export has put aside lies under the prefix ``unfinished``. ``stored_with`` are further
    parameters of the objects, in the words of the API: StorageClass, ServerSideEncryption, Tagging, ….
    """

    name: str
    endpoint: str | None = None
    region: str | None = None
    unfinished: str = "jobworker-unfinished/"
    stored_with: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        """For messages."""
        where = self.endpoint or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        return f"bucket {self.name}" + (f" at {where}" if where else "")

    @property
    def client(self) -> Any:
        """boto3's, made once in each process.

        Raises:
            ConfigurationError: boto3 is not installed.
        """
        known = (os.getpid(), self.endpoint, self.region)
        with _making:
            if known not in _clients:
                _clients[known] = _client(self.endpoint, self.region)
            return _clients[known]

    def link(self, key: str, life: timedelta | float, *, filename: str | None = None) -> str:
        """An address under which whoever has it can read the object for so long, seven days at most.

        It ends sooner where the credentials that sign it do, as those of a pod's role. Nobody is asked, and it is not
        looked whether the object is there.

        Raises:
            ValueError: the time is not above 0, or longer than seven days.
        """
        seconds = life.total_seconds() if isinstance(life, timedelta) else life
        if not 1 <= seconds <= _LONGEST_LINK.total_seconds():
            raise ValueError(
                f"a signed link lives from a second to seven days, not {seconds:g} s; sign a new one when asked"
            )
        wanted = {"Bucket": self.name, "Key": key}
        if filename is not None:
            wanted["ResponseContentDisposition"] = f'attachment; filename="{_header_safe(filename)}"'
        with self._telling("sign a link"):
            address: str = self.client.generate_presigned_url("get_object", Params=wanted, ExpiresIn=int(seconds))
        return address

    def put(self, key: str, data: bytes | bytearray, **further: Any) -> str:
        """Store an object, at once or not at all; its ETag."""
        with self._telling(f"store {key}"):
            answer = self.client.put_object(Bucket=self.name, Key=key, Body=data, ContentMD5=_md5(data), **further)
        etag: str = answer["ETag"]
        return etag

    def find(self, key: str) -> Found | None:
        """What is known of an object; None if it is not there."""
        with self._telling(f"look for {key}"):
            try:
                answer = self.client.head_object(Bucket=self.name, Key=key)
            except self.client.exceptions.ClientError as error:
                if error.response["Error"]["Code"] in NOT_FOUND:
                    return None
                raise
        headers = answer["ResponseMetadata"]["HTTPHeaders"]
        google = {name.removeprefix(_GOOGLE): value for name, value in headers.items() if name.startswith(_GOOGLE)}
        return Found(answer["ContentLength"], answer["ETag"], {**google, **answer.get("Metadata", {})})

    def get(self, key: str, *, etag: str | None = None, begin: int = 0, size: int | None = None) -> bytes:
        """Bytes of an object, all or from one on.

        Raises:
            ObjectChanged: it is not there, or not with this ETag.
        """
        wanted: dict[str, Any] = {"Bucket": self.name, "Key": key}
        if etag is not None:
            wanted["IfMatch"] = etag
        if size is not None:
            wanted["Range"] = f"bytes={begin}-{begin + size - 1}"
        with self._telling(f"read {key}"):
            body: bytes = self.client.get_object(**wanted)["Body"].read()
        return body

    def delete(self, *keys: str) -> None:
        """Delete objects that may be there."""
        for key in keys:
            with self._telling(f"delete {key}"):
                self.client.delete_object(Bucket=self.name, Key=key)

    def begin_upload(self, key: str, **further: Any) -> str:
        """Begin an upload in parts, of which nobody sees anything until it is complete; its id."""
        with self._telling(f"begin the upload of {key}"):
            upload: str = self.client.create_multipart_upload(Bucket=self.name, Key=key, **further)["UploadId"]
        return upload

    def upload_part(self, key: str, upload: str, number: int, data: bytes | bytearray) -> str:
        """Store a part, in the place of one of the same number; its ETag.

        Raises:
            UploadGone: there is no such upload any more.
        """
        with self._telling(f"store part {number} of {key}"):
            answer = self.client.upload_part(
                Bucket=self.name, Key=key, UploadId=upload, PartNumber=number, Body=data, ContentMD5=_md5(data)
            )
        etag: str = answer["ETag"]
        return etag

    def parts(self, key: str, upload: str) -> list[tuple[int, str]]:
        """Numbers and ETags of the parts that are stored.

        Raises:
            UploadGone: there is no such upload any more.
        """
        found: list[tuple[int, str]] = []
        with self._telling(f"list the parts of {key}"):
            pages = self.client.get_paginator("list_parts").paginate(Bucket=self.name, Key=key, UploadId=upload)
            for page in pages:
                found += [(part["PartNumber"], part["ETag"]) for part in page.get("Parts", [])]
        return found

    def complete_upload(self, key: str, upload: str, etags: Sequence[str]) -> None:
        """Make one object of the parts, at once or not at all.

        Raises:
            UploadGone: there is no such upload any more: it is complete already, or was removed.
            PartsDiffer: a part is not what was stored.
        """
        parts = [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(etags, 1)]
        with self._telling(f"complete {key}"):
            self.client.complete_multipart_upload(
                Bucket=self.name, Key=key, UploadId=upload, MultipartUpload={"Parts": parts}
            )

    def abort_upload(self, key: str, upload: str) -> None:
        """Remove an upload and its parts.

        Raises:
            UploadGone: there is no such upload any more.
        """
        with self._telling(f"remove the upload of {key}"):
            self.client.abort_multipart_upload(Bucket=self.name, Key=key, UploadId=upload)

    @contextmanager
    def _telling(self, doing: str) -> Iterator[None]:
        errors = _library("botocore.exceptions")
        try:
            yield
        except (errors.ClientError, errors.BotoCoreError) as error:
            raise told(error, doing, str(self)) from error


def _client(endpoint: str | None, region: str | None) -> Any:
    elsewhere = endpoint or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    config = _library("botocore.config").Config(
        signature_version="s3v4",
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=_READ_SECONDS,
        retries={"mode": "standard", "total_max_attempts": _TRIES},
        # Ours is Content-MD5, which all of them check; the newer sums only AWS knows.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"addressing_style": "path" if elsewhere else "auto"},
    )
    session = _library("boto3.session").Session()
    return session.client("s3", endpoint_url=endpoint, region_name=region, config=config)


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ConfigurationError("object storage needs boto3: pip install 'jobworker[s3]'") from error


def _md5(data: bytes | bytearray) -> str:
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()


def _header_safe(filename: str) -> str:
    return "".join(
        letter if letter.isascii() and letter.isprintable() and letter not in '"\\' else "_" for letter in filename
    )
