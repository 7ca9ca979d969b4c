#!/usr/bin/env python3
"""How long it takes until every socket of a revoked user is closed, on several gateways of one cluster.

    loadtest/revocation.py --programs target/release --nats nats://127.0.0.1:4222 --gateways 3 --sockets 300

A nats-server with odin's streams must run. Each gateway holds so many sockets of the user and as many of another, who
must not notice.
"""

import argparse
import asyncio
import base64
import hashlib
import hmac
import json
import struct
import subprocess
import time
import urllib.request

SECRET = "only for measuring, never for anything else"
ADMIN = "only for measuring"


def token(sub):
    def part(value):
        return base64.urlsafe_b64encode(value).rstrip(b"=")

    claims = {"sub": sub, "exp": int(time.time()) + 600, "iat": int(time.time()) - 1}
    body = part(b'{"alg":"HS256","typ":"JWT"}') + b"." + part(json.dumps(claims).encode())
    return (body + b"." + part(hmac.new(SECRET.encode(), body, hashlib.sha256).digest())).decode()


async def connect(port, sub):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer {token(sub)}\r\n\r\n".encode()
    )
    await reader.readuntil(b"\r\n\r\n")
    await reader.readuntil(b'"authenticated"')
    return reader, writer


async def closed(reader, code):
    """When the close frame came."""
    await reader.readuntil(struct.pack(">H", code))
    return time.perf_counter()


def revoke(admin, sub):
    request = urllib.request.Request(
        f"http://{admin}/v1/revocations",
        json.dumps({"sub": sub, "expiresIn": "10m"}).encode(),
        {"Authorization": f"Bearer {ADMIN}", "Content-Type": "application/json"},
    )
    urllib.request.urlopen(request).read()


async def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", default="target/release")
    parser.add_argument("--nats", default="nats://127.0.0.1:4222")
    parser.add_argument("--gateways", type=int, default=3)
    parser.add_argument("--sockets", type=int, default=300)
    parser.add_argument("--times", type=int, default=5)
    args = parser.parse_args()
    options = ["--nats-url", args.nats, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--shards", "1",
               "--auth-algorithms", "HS256", "--auth-hs256-secret", SECRET, "--admin-token", ADMIN]
    gateways = [
        subprocess.Popen([f"{args.programs}/ws-gateway", "serve", *options], stderr=subprocess.PIPE, text=True)
        for _ in range(args.gateways)
    ]
    try:
        addresses = []
        for gateway in gateways:
            line = next(line for line in gateway.stderr if '"listening"' in line)
            addresses.append((json.loads(line)["listen"], json.loads(line)["admin_listen"]))
            next(line for line in gateway.stderr if "readiness changed" in line and "Ready" in line)
        ports = [int(listen.rsplit(":", 1)[1]) for listen, _ in addresses]
        others = [await connect(port, "other") for port in ports for _ in range(args.sockets)]
        for turn in range(args.times):
            sub = f"user-{time.time_ns()}"
            sockets = [await connect(port, sub) for port in ports for _ in range(args.sockets)]
            waiting = [asyncio.create_task(closed(reader, 4440)) for reader, _ in sockets]
            await asyncio.sleep(0.5)
            began = time.perf_counter()
            await asyncio.to_thread(revoke, addresses[turn % len(addresses)][1], sub)
            answered = time.perf_counter()
            ends = sorted(await asyncio.gather(*waiting))
            print(f"{len(ends)} sockets on {len(ports)} gateways: answered after {(answered - began) * 1000:.1f} ms, "
                  f"half closed after {(ends[len(ends) // 2] - began) * 1000:.1f} ms, "
                  f"all after {(ends[-1] - began) * 1000:.1f} ms")
            for _, writer in sockets:
                writer.transport.abort()
        still = sum(not reader.at_eof() for reader, _ in others)
        print(f"{still} of {len(others)} sockets of the other user are open")
    finally:
        for gateway in gateways:
            gateway.kill()
            gateway.wait()


asyncio.run(main())
