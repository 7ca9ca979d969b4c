#!/usr/bin/env python3
"""What an idle connection costs the kernel, and what it costs the gateway: slabs and resident memory with many of them.

    loadtest/geographic/sockets.py [--connections 6000]

Both ends are on this machine, so the kernel's figure is halved. Slabs that earlier runs left free make it less, other
work on the machine changes it either way: the first run after a pause is the one to believe.
"""

import argparse
import asyncio
import pathlib
import socket

from lab import Lab
from waiting import say, until

HELLO = (
    b"GET /ws HTTP/1.1\r\nHost: lab\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
SUBSCRIBE = b'{"type":"subscribe","channels":["price:AAA"]}'


def kernel():
    lines = pathlib.Path("/proc/meminfo").read_text().splitlines()
    return {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}["Slab"]


def resident(pid):
    line = next(
        line for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines() if line.startswith("Pss:")
    )
    return int(line.split()[1]) * 1024


async def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=6000)
    args = parser.parse_args()
    with Lab() as lab:
        server = lab.server("nats")
        await until("nats", lambda: server.varz("healthz")["status"] == "ok")
        lab.provision(server.url)
        gateway = lab.gateway("gateway", [server.url])
        await gateway.ready()
        sockets = []
        await asyncio.sleep(2)
        before, own = kernel(), resident(gateway.process.pid)
        for _ in range(args.connections):
            one = socket.create_connection(("127.0.0.1", gateway.port))
            one.sendall(HELLO + bytes([129, 128 | len(SUBSCRIBE)]) + bytes(4) + SUBSCRIBE)
            one.recv(4096)
            sockets.append(one)
            if len(sockets) % 200 == 0:
                await asyncio.sleep(0.05)
        await asyncio.sleep(3)
        for one in sockets:
            one.setblocking(False)
            try:
                one.recv(65536)
            except BlockingIOError:
                pass
        await asyncio.sleep(2)
        count = gateway.metric("connections", "subscriptions")
        say(
            f"{count}: kernel {(kernel() - before) / args.connections / 2:.0f} bytes for each end, "
            f"gateway {(resident(gateway.process.pid) - own) / args.connections:.0f} bytes"
        )


asyncio.run(main())
