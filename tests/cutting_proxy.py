"""A TCP proxy that can cut a connection at the worst moment: after the request was carried out, before the answer."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Self


class CuttingProxy:
    """Forwards to ``port``, which may be changed for new connections.

    ``lose`` is bytes of a request: the first request that holds them is carried out by the server, its answer thrown
    away and its connection cut. ``lost`` counts how often that happened.
    """

    def __init__(self, port: int) -> None:
        self.upstream = port
        self.lose: bytes | None = None
        self.lost = 0
        self.port = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.upstream)
        self._writers.add(up_writer)
        cut = asyncio.Event()
        ways = [
            asyncio.create_task(self._requests(reader, up_writer, cut)),
            asyncio.create_task(self._answers(up_reader, writer, cut)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            for end in (writer, up_writer):
                end.transport.abort()
                self._writers.discard(end)

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, cut: asyncio.Event) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 20):
                if self.lose is not None and self.lose in data:
                    self.lose = None
                    cut.set()
                writer.write(data)
                await writer.drain()

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, cut: asyncio.Event) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 20):
                if cut.is_set():
                    self.lost += 1
                    return
                writer.write(data)
                await writer.drain()
