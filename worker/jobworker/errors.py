"""Every error that jobworker raises on purpose, in one tree.

    JobworkerError
    ├── ConfigurationError      a setting, a flag or an application that cannot work
    │   └── UnknownJob          a payload names a job that this application does not define
    ├── MalformedPayload        bytes on a queue that are no Sidekiq job
    ├── ArgumentsNotJSON        arguments of a job that JSON cannot carry
    ├── CursorMismatch          an iterating job cannot go on where it was, in what it finds now
    ├── MalformedItem           what an iterating job walks over cannot be read at some place
    ├── StorageError            an object storage does not do what an export or a walk over an object needs
    ├── PushBufferFull          Redis is away, and no more jobs can wait for it in this process
    ├── StaleEpoch              this life of the worker has ended as far as Redis knows
    └── NotHeld                 the job has another holder by now

The docstring of each says what to do about it.
"""

from __future__ import annotations


class JobworkerError(Exception):
    """Base of all errors of this package."""


class ConfigurationError(JobworkerError):
    """A setting cannot work. The message names the setting and a value that would."""


class UnknownJob(ConfigurationError):
    """A payload names a job that this application does not define.

    Deploy the version that defines it, or delete the payload from the retry or dead set.
    """


class MalformedPayload(JobworkerError):
    """Bytes on a queue that are not a JSON object with a class and a list of arguments.

    The bytes are kept in the dead set; find the producer that wrote them.
    """


class ArgumentsNotJSON(JobworkerError, TypeError):
    """Arguments of a job hold something that JSON cannot carry. Pass an id, a string or a number instead."""


class CursorMismatch(JobworkerError, ValueError):
    """An iterating job cannot go on where it was: the cursor is another enumerator's, or its place is not there now.

    Nothing was skipped. The message says what was expected; a version of the job that reads the cursor goes on from it.
    """


class MalformedItem(JobworkerError, ValueError):
    """What an iterating job walks over cannot be read at some place: a line that is no JSON, bytes that are no text.

    The message names row and byte. The job is tried again at that place, so a repaired source goes on from there.
    """


class StorageError(JobworkerError):
    """An object storage refused something or did not answer, after tries of its own.

    The message says what was tried, in which bucket, and what to do. A job that it ends goes on from its last part, or
    from what it put aside, when it is tried again.
    """


class PushBufferFull(JobworkerError):
    """Redis is away, and as many jobs wait for it in this process as `reliable_push` allows.

    The jobs of this call were not accepted, but for those in ``accepted``. Try again later, or tell whoever asked.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.accepted: tuple[str, ...] = ()


class StaleEpoch(JobworkerError):
    """This life of the worker has ended as far as Redis knows: its jobs may have a new holder.

    Nothing was written. Register anew, and let no more effects out for the jobs of the old life.
    """


class NotHeld(JobworkerError):
    """This worker does not hold the job any more; nothing was written. Stop working on it."""


class JobTimeout(JobworkerError, TimeoutError):
    """An async or iterating job ran longer than its ``timeout`` and was cancelled; it is retried as any that failed."""
