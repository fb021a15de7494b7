"""Answers the probes of a kubelet: /livez while the event loop turns, /readyz while Redis knows the worker is alive.

A quiet worker stays ready: it still works, and a pod that is not ready would count as unavailable.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from jobworker.errors import ConfigurationError

if TYPE_CHECKING:
    from aiohttp import web


@asynccontextmanager
async def health(port: int, ready: Callable[[], bool], live: Callable[[], bool] = lambda: True) -> AsyncIterator[None]:
    """Serve on ``port`` of all addresses; 0 serves nothing.

    Raises:
        ConfigurationError: the port is taken or forbidden.
    """
    if port == 0:
        yield
        return
    from aiohttp import web  # noqa: PLC0415  # six megabytes that a worker without probes does not need

    async def livez(_: web.Request) -> web.Response:
        if live():
            return web.Response(text="ok\n")
        return web.Response(status=503, text="the parent of the processes does not turn any more\n")

    async def readyz(_: web.Request) -> web.Response:
        if ready():
            return web.Response(text="ok\n")
        return web.Response(status=503, text="not registered in Redis, or its last heartbeat is too old\n")

    app = web.Application()
    app.add_routes([web.get("/livez", livez), web.get("/readyz", readyz)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, port=port).start()
        except OSError as error:
            raise ConfigurationError(
                f"health port {port} cannot be used ({error}); set another --health-port"
            ) from error
        yield
    finally:
        await runner.cleanup()
