"""/livez, /readyz and /metrics for the kubelet and Prometheus.

Alive means that the loop turns and a canary key still gets through the work queue; ready, that everything was read
once. An API server or a Redis that is away makes nobody restart the operator: it would help neither.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

log = logging.getLogger(__name__)

CANARY_SECONDS = 5.0
STUCK_SECONDS = 60.0
_LAG_PERIOD = 0.5


class Canary:
    """Sent through the work queue every few seconds; when it does not come back, no worker is left to serve a key."""

    def __init__(self, send: Callable[[], None]) -> None:
        self._send = send
        self._back_at = time.monotonic()

    def came_back(self) -> None:
        """A worker has had it."""
        self._back_at = time.monotonic()

    @property
    def silent_seconds(self) -> float:
        """How long nobody has seen it."""
        return time.monotonic() - self._back_at

    async def run(self) -> None:
        """Send for ever."""
        while True:
            self._send()
            await asyncio.sleep(CANARY_SECONDS)


async def measure_lag(tell: Callable[[float], None]) -> None:
    """Tell how late the loop is, for ever."""
    while True:
        due = time.monotonic() + _LAG_PERIOD
        await asyncio.sleep(_LAG_PERIOD)
        tell(max(0.0, time.monotonic() - due))


class HealthServer:
    """``waiting_for`` names what was not read yet; all of it has to be False for the operator to be ready."""

    def __init__(
        self, port: int, registry: CollectorRegistry, canary: Canary, waiting_for: Callable[[], Mapping[str, bool]]
    ) -> None:
        self._port = port
        self._registry = registry
        self._canary = canary
        self._waiting_for = waiting_for
        self._runner: web.AppRunner | None = None

    async def start(self) -> int:
        """Listen, and return the port."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/livez", self._livez),
                web.get("/readyz", self._readyz),
                web.get("/metrics", self._metrics),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await self._runner.setup()
        await web.TCPSite(self._runner, None, self._port).start()
        # With port 0 the two families get a port each; the one of IPv4 is told, whose addresses have two parts.
        port: int = min(self._runner.addresses, key=len)[1]
        return port

    async def close(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _livez(self, _request: web.Request) -> web.Response:
        silent = self._canary.silent_seconds
        if silent > STUCK_SECONDS:
            return web.Response(status=503, text=f"no worker has taken a key for {silent:.0f} s\n")
        return web.Response(text="ok\n")

    async def _readyz(self, _request: web.Request) -> web.Response:
        missing = [what for what, waiting in self._waiting_for().items() if waiting]
        if missing:
            return web.Response(status=503, text=f"waiting for {', '.join(missing)}\n")
        return web.Response(text="ok\n")

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})
