"""A proxy between one process and Redis, with all that a network does: cuts, loses answers, is slow, falls silent."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from typing_extensions import override

from tests.cutting_proxy import CuttingProxy


class Network(CuttingProxy):
    """``delay`` seconds for each packet in each direction; ``silent``: nothing passes, and no connection ends."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.delay = 0.0
        self._passes = asyncio.Event()
        self._passes.set()

    @property
    def silent(self) -> bool:
        return not self._passes.is_set()

    @silent.setter
    def silent(self, silent: bool) -> None:
        if silent:
            self._passes.clear()
        else:
            self._passes.set()

    def cut(self) -> int:
        """Reset all connections. How many there were."""
        writers = list(self._writers)
        for writer in writers:
            writer.transport.abort()
        return len(writers) // 2

    @override
    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await super()._serve(reader, writer)
        except OSError:
            writer.transport.abort()  # Redis is away: nobody is there to connect to

    @override
    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, cut: asyncio.Event) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 20):
                await self._travel()
                if self.lose is not None and self.lose in data:
                    self.lose = None
                    cut.set()
                writer.write(data)
                await writer.drain()

    @override
    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, cut: asyncio.Event) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 20):
                await self._travel()
                if cut.is_set():
                    self.lost += 1
                    return
                writer.write(data)
                await writer.drain()

    async def _travel(self) -> None:
        await self._passes.wait()
        if self.delay:
            await asyncio.sleep(self.delay)
