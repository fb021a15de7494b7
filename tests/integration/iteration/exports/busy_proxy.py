"""A server in front of a storage that is too busy for some requests, and passes on the others."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Self

_BODY = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
_ANSWER = (
    b"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b"
)


class BusyProxy:
    """Refuses the next connections, ``refuse`` of them, and forwards those after them to ``port``."""

    def __init__(self, port: int, *, refuse: int) -> None:
        self.refuse = refuse
        self.refused = 0
        self.port = 0
        self._upstream = port
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            if self.refused < self.refuse:
                self.refused += 1
                await reader.readuntil(b"\r\n\r\n")
                writer.write(_ANSWER % (len(_BODY), _BODY))
                await writer.drain()
            else:
                up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._upstream)
                await asyncio.gather(_pass(reader, up_writer), _pass(up_reader, writer))
        writer.close()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()
