"""``python -m bench.iteration.programs.resume TASKS``: from build_enumerator to the first item, ms, for each task.

One sample of each in a process that did nothing of the kind before, as after a deploy: files are opened, connections
made, statements compiled. Modules are imported and engines made, as by a worker's application when it starts. The last
line is JSON.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import jobworker.iteration.enumerators.sql_walks  # noqa: F401  # an application with tables has it
from bench.iteration.programs.walks import engine, enumerator
from jobworker import IteratingJob


class Walk(IteratingJob):
    """Goes on at the cursor of its task."""

    def build_enumerator(self, task: dict[str, Any], *, cursor: Any) -> Any:
        """As in any job."""
        return enumerator(task["kind"], task["place"], cursor)


def resumed(task: dict[str, Any]) -> float:
    """Milliseconds to the first item.

    Raises:
        AssertionError: it is not the item behind the cursor.
    """
    if task["kind"] == "sql":
        engine(task["place"])
    began = time.perf_counter()
    item, _ = next(iter(Walk().build_enumerator(task, cursor=task["cursor"])))
    took = (time.perf_counter() - began) * 1000
    found = int(item.id if task["kind"] == "sql" else item["id"])
    if found != task["expected"]:
        raise AssertionError(f"{task['kind']} went on at {found}, not at {task['expected']}")
    return took


if __name__ == "__main__":
    print(json.dumps([resumed(task) for task in json.loads(sys.argv[1])]))
