"""Wires between places: TCP proxies that delay, are cut, or swallow everything."""

import asyncio
import contextlib
import threading
import time


class Wire:
    """A TCP proxy: so many seconds of delay each way; it can be cut, or swallow everything (`hole`).

    All of them run in a thread of their own, so what an experiment waits for does not hold them up.
    """

    loop = None

    def __init__(self, target, delay=0.0):
        self.target, self.delay, self.is_cut, self.pairs, self.bytes = target, delay, False, set(), 0
        if Wire.loop is None:
            Wire.loop = asyncio.new_event_loop()
            threading.Thread(target=Wire.loop.run_forever, daemon=True).start()
        asyncio.run_coroutine_threadsafe(self.listen(), Wire.loop).result()

    async def listen(self):
        self.open = asyncio.Event()
        self.open.set()
        self.server = await asyncio.start_server(self.accept, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]

    async def accept(self, reader, writer):
        if self.is_cut:
            return writer.transport.abort()
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            return writer.transport.abort()
        pair = (writer, far_writer)
        self.pairs.add(pair)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await asyncio.gather(self.carry(reader, far_writer), self.carry(far_reader, writer))
        self.pairs.discard(pair)
        for end in pair:
            end.transport.abort()

    async def carry(self, reader, writer):
        waiting = asyncio.Queue(4096)

        async def deliver():
            while (item := await waiting.get()) is not None:
                due, data = item
                await asyncio.sleep(max(0, due - time.monotonic()))
                await self.open.wait()
                writer.write(data)
                await writer.drain()
            writer.transport.abort()

        delivering = asyncio.create_task(deliver())
        try:
            while data := await reader.read(65536):
                self.bytes += len(data)
                await waiting.put((time.monotonic() + self.delay, data))
        finally:
            await waiting.put(None)
            await delivering

    def cut(self, on):
        def do():
            self.is_cut = on
            for pair in list(self.pairs) if on else []:
                for end in pair:
                    end.transport.abort()

        Wire.loop.call_soon_threadsafe(do)

    def hole(self, on):
        Wire.loop.call_soon_threadsafe(self.open.clear if on else self.open.set)
