"""What an export keeps beside its file while it is unfinished, in objects whose names follow from the job alone.

So whoever ends the job can remove all of it without knowing where the job stood: two places for rows that are not
enough for a part, and a note of the upload.
"""

from __future__ import annotations

import logging

import orjson

from jobworker.errors import StorageError
from jobworker.iteration.exports.buckets import S3Bucket
from jobworker.iteration.exports.failures import ObjectChanged, UploadGone

log = logging.getLogger("jobworker.exports")


class Leftovers:
    """Those of one job."""

    def __init__(self, bucket: S3Bucket, jid: str) -> None:
        self._bucket = bucket
        self._folder = f"{bucket.unfinished}{jid}/"

    def aside(self, place: int) -> str:
        """The key of what is put aside; there are places 0 and 1."""
        return f"{self._folder}rest-{place}"

    def note(self, key: str, upload: str) -> None:
        """Write down that an upload was begun."""
        self._bucket.put(self._note, orjson.dumps({"key": key, "upload": upload}))

    def remove(self, key: str | None, upload: str | None) -> None:
        """Delete all of it, and with an upload that too. What cannot be removed is told in the log."""
        try:
            if key is not None and upload is not None:
                self._abort(key, upload)
            self._bucket.delete(self.aside(0), self.aside(1), self._note)
        except StorageError as error:
            log.warning("an export leaves what a lifecycle rule has to remove, under %s: %s", self._folder, error)

    def remove_noted(self) -> None:
        """The same for a job of which nothing but its jid is known."""
        try:
            noted = orjson.loads(self._bucket.get(self._note))
        except ObjectChanged:
            noted = {}
        except StorageError as error:
            log.warning("an export leaves what a lifecycle rule has to remove, under %s: %s", self._folder, error)
            return
        self.remove(noted.get("key"), noted.get("upload"))

    @property
    def _note(self) -> str:
        return f"{self._folder}upload"

    def _abort(self, key: str, upload: str) -> None:
        try:
            self._bucket.abort_upload(key, upload)
        except UploadGone:
            log.debug("the upload of %s is gone already", key)
