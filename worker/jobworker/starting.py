"""Obeys SIGTERM while the command is still being loaded: imported before everything else, it imports next to nothing.

The kernel gives the first process of a container only those signals that it handles. A pod that is deleted in its first
second would ignore that, and live on for its whole grace period though it holds no job yet.
"""

import os
import signal
import sys

# Only where it is the command's own process; `Process` has handlers of its own, which come later.
if os.getpid() == 1 and os.path.basename(sys.argv[0]) == "jobworker":  # noqa: PTH119  # pathlib takes its time
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
