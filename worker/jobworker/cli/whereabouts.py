"""Where one job is, in words that follow its name, for commands that were asked for it and cannot find it or obey."""

from __future__ import annotations

from typing import assert_never

from jobworker.cli.screen import ago
from jobworker.protocol.control import Parked
from jobworker.protocol.inspection import RunningJob
from jobworker.protocol.job_sets import JobSet, SetEntry
from jobworker.protocol.locating import QUEUED_SEARCHED, Located, Nowhere, Queued

_IN_A_SET = {JobSet.SCHEDULED: "is due", JobSet.RETRY: "is tried again", JobSet.DEAD: "is dead, since"}


def where_it_is(where: Located) -> str:
    """As in ``JID waits in the queue mails at place 2``."""
    match where:
        case Queued(queue=queue, place=place):
            return f"waits in the queue {queue} at place {place:,}"
        case SetEntry(job_set=job_set, score=moment):
            return f"{_IN_A_SET[job_set]} {ago(moment)}"
        case RunningJob(worker=worker):
            return f"runs on {worker}"
        case Parked(parked_at=since):
            return f"is paused, since {ago(since)}"
        case Nowhere():
            return f"is not known: it neither runs nor waits nor rests{searched(where)}"
        case _:
            assert_never(where)


def searched(where: Nowhere) -> str:
    """How far queues were searched, if not to their ends."""
    return "" if where.complete else f"; of the jobs in queues only {QUEUED_SEARCHED:,} were searched"


def instead(where: Located, action: str) -> str:
    """What can be done with a job that is where ``retry``, ``kill`` or ``delete`` does not reach it."""
    match where:
        case Queued():
            return "`jobworker jobs delete` removes it" if action != "retry" else "it runs when it is its turn"
        case SetEntry(job_set=JobSet.DEAD) if action == "kill":
            return "there is nothing to kill"
        case SetEntry(job_set=job_set):
            return f"`jobworker jobs {action} --in {job_set.value}` takes it from there"
        case RunningJob():
            return "`jobworker jobs cancel` ends it if it is iterating, and any other runs to its end"
        case Parked():
            return "`jobworker jobs cancel` ends it, `jobworker jobs resume` lets it go on"
        case Nowhere():
            return "it has ended, or somebody was faster"
        case _:
            assert_never(where)
