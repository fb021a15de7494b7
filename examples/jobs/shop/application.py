"""The application that all jobs of the shop belong to. Its Redis is the one of JOBWORKER_REDIS_URL."""

from __future__ import annotations

import os

from jobworker import App

app = App()

VERSION = os.environ.get("SHOP_VERSION", "1")
"""Which image runs this: log lines and reports show it, so that a rollout can be watched."""
