"""Which jobs of a set a command is about: by class, by queue, or those that nobody can read."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from jobworker.protocol.job_sets import Found

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a job must be; None where it does not matter."""

    job_class: str | None = None
    queue: str | None = None
    unreadable: bool = False

    @property
    def all(self) -> bool:
        """Is nothing asked of them?"""
        return self == Wanted()

    def wants(self, found: Found, queue: str | None = None) -> bool:
        """Is it one of them? ``queue`` where it is known better than from the payload."""
        job = found.job
        if self.unreadable or job is None:
            return job is None and self.job_class is None and (self.unreadable or self.queue in {None, queue})
        return self.job_class in {None, job.job_class} and self.queue in {None, queue or job.queue}

    def in_words(self, before: str) -> str:
        """``of class Mail in queue mails``, or nothing."""
        parts = [
            f"of class {self.job_class}" if self.job_class else "",
            f"in queue {self.queue}" if self.queue else "",
            "that cannot be read" if self.unreadable else "",
        ]
        return "".join(before + part for part in parts if part)


def wanted_options(command: Callable[..., T]) -> Callable[..., T]:
    """The flags, which become the command's argument ``wanted``."""

    @click.option("--class", "job_class", default=None, metavar="NAME", help="Only jobs of this class.")
    @click.option("--queue", default=None, metavar="NAME", help="Only jobs of this queue.")
    @click.option("--unreadable", is_flag=True, help="Only those whose bytes are no job.")
    @functools.wraps(command)
    def chosen(*args: Any, job_class: str | None, queue: str | None, unreadable: bool, **options: Any) -> T:
        if unreadable and (job_class or queue):
            raise click.UsageError("--unreadable jobs have neither class nor queue; leave those flags out")
        return command(*args, wanted=Wanted(job_class, queue, unreadable), **options)

    return chosen
