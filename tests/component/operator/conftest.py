"""The API server in this process, and a client of it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from jobworker_operator.kube.client import Kube
from tests.component.operator.api_server import ApiServer, serving


@pytest.fixture
async def api() -> AsyncIterator[ApiServer]:
    async with serving() as server:
        yield server


@pytest.fixture
async def kube(api: ApiServer) -> AsyncIterator[Kube]:
    async with api.kube() as client:
        yield client
