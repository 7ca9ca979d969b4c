#!/usr/bin/env python3
"""Memory of idle, subscribed connections, plain and by TLS, of one gateway each.

    loadtest/tls_memory.py --gateway target/release/ws-gateway --nats nats://127.0.0.1:4222 --connections 4000

A nats-server with odin's streams must run. Needs `openssl` for a certificate of its own.
"""

import argparse
import asyncio
import json
import os
import re
import ssl
import subprocess
import tempfile

REQUEST = (
    "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
).encode()


def text_frame(message):
    """A masked frame with a key of zeros, which changes nothing."""
    payload = json.dumps(message).encode()
    assert len(payload) < 126
    return bytes([0x81, 0x80 | len(payload), 0, 0, 0, 0]) + payload


def resident_bytes(pid):
    with open(f"/proc/{pid}/status") as status:
        return int(re.search(r"VmRSS:\s+(\d+) kB", status.read()).group(1)) * 1024


async def subscribe(port, context, limit):
    async with limit:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=context, server_hostname="localhost" if context else None
        )
        writer.write(REQUEST)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(text_frame({"type": "subscribe", "id": 1, "channels": ["price:BTC"]}))
        await reader.readuntil(b'"subscribed"')
        return reader, writer


async def measure(args, tls):
    with tempfile.TemporaryDirectory() as folder:
        options = []
        context = None
        if tls:
            key, cert = f"{folder}/key.pem", f"{folder}/cert.pem"
            subprocess.run(
                ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                 "-days", "1", "-subj", "/CN=localhost", "-keyout", key, "-out", cert],
                check=True, stderr=subprocess.DEVNULL,
            )
            options = ["--tls-cert-file", cert, "--tls-key-file", key]
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        gateway = subprocess.Popen(
            [args.gateway, "serve", "--shards", "1", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0",
             "--nats-url", args.nats, "--log-format", "json", *options],
            stderr=subprocess.PIPE, text=True,
        )
        try:
            port = None
            for line in gateway.stderr:
                if '"listening"' in line:
                    port = int(json.loads(line)["listen"].rsplit(":", 1)[1])
                    break
            os.set_blocking(gateway.stderr.fileno(), False)
            limit = asyncio.Semaphore(64)
            warm = await asyncio.gather(*(subscribe(port, context, limit) for _ in range(100)))
            await asyncio.sleep(2)
            before = resident_bytes(gateway.pid)
            crowd = await asyncio.gather(*(subscribe(port, context, limit) for _ in range(args.connections)))
            await asyncio.sleep(5)
            each = (resident_bytes(gateway.pid) - before) / args.connections
            print(f"{'TLS' if tls else 'plain'}: {each:.0f} bytes of RSS for each of {len(crowd)} connections")
            for _, writer in warm + crowd:
                writer.transport.abort()
        finally:
            gateway.kill()
            gateway.wait()


async def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gateway", default="target/release/ws-gateway")
    parser.add_argument("--nats", default="nats://127.0.0.1:4222")
    parser.add_argument("--connections", type=int, default=4000)
    args = parser.parse_args()
    for tls in (False, True):
        await measure(args, tls)


asyncio.run(main())
