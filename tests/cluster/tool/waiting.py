"""Bounded waits on components; one that ends while waited for is reported at once, with its log."""

from __future__ import annotations

import http.client
import ssl
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

from tests.cluster.tool.errors import ComponentError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cluster.tool.layout import Layout

INTERVAL_SECONDS = 0.1


def wait_until(
    condition: Callable[[], bool],
    component: str,
    problem: str,
    *,
    log: Path,
    seconds: float,
    alive: Callable[[], bool] = lambda: True,
) -> None:
    """Wait for a condition.

    Raises:
        ComponentError: the component ended before, or `seconds` passed; the message names its log.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if not alive():
            raise ComponentError(component, "ended while starting", log)
        if time.monotonic() > deadline:
            raise ComponentError(component, f"{problem} within {seconds:.0f} s", log)
        time.sleep(INTERVAL_SECONDS)


def answers(url: str, layout: Layout | None = None) -> bool:
    """Whether a GET of `url` succeeds; with a layout, as its administrator over TLS."""
    context = None
    if layout is not None:
        folder = layout.certificates
        context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
        context.load_cert_chain(folder / "kubeconfig.crt", folder / "kubeconfig.key")
    # No proxy: these addresses are on this machine, whatever the environment says.
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if context is not None:
        handlers.append(urllib.request.HTTPSHandler(context=context))
    try:
        with urllib.request.build_opener(*handlers).open(url, timeout=2) as response:
            return bool(response.status == http.HTTPStatus.OK)
    except (urllib.error.URLError, http.client.HTTPException, OSError):
        return False
