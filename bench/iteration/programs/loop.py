"""``python -m bench.iteration.programs.loop TASK``: the plain loop, in a process with nothing else in it.

It calls a function for each row, as a job has one called. The last line is JSON.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from bench.iteration.programs.walks import plain


def nothing(_: Any) -> None:
    """What is done with a row."""


def walk(task: dict[str, Any]) -> dict[str, float]:
    """All rows; what they took."""
    rows, began, cpu = 0, time.perf_counter(), time.process_time()
    with plain(task["kind"], task["place"]) as source:
        for row in source:
            nothing(row)
            rows += 1
    return {"rows": rows, "seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - cpu}


if __name__ == "__main__":
    print(json.dumps(walk(json.loads(sys.argv[1]))))
