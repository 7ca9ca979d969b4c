#!/usr/bin/env python3
"""What polling costs, and what streaming saves: the same users on the same feed, one way after the other.

Each user wants one token's price. By polling it asks every --interval seconds; the feed changes so seldom that nine of
ten polls find nothing new. Counted is what goes over each user's TCP connection in both directions, requests, updates,
and the processor time of the gateway. Everything runs on this machine, and ends by itself.

    cargo build --release && loadtest/polling.py
"""

import argparse
import asyncio
import base64
import json
import os
import random
import struct
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# What a browser sends with every request, and a program with less: it is a part of what polling costs.
BROWSER = (
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36\r\n"
    "Accept: */*\r\nAccept-Language: en-US,en;q=0.9\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n"
    "Referer: https://app.example/\r\nOrigin: https://app.example\r\nSec-Fetch-Site: same-site\r\n"
    "Sec-Fetch-Mode: cors\r\nSec-Fetch-Dest: empty\r\n"
    'Sec-Ch-Ua: "Chromium";v="142", "Not_A Brand";v="99"\r\nSec-Ch-Ua-Mobile: ?0\r\nSec-Ch-Ua-Platform: "Linux"\r\n'
)


class User:
    """One connection that counts."""

    def __init__(self, host, port, channel, headers):
        self.host, self.port, self.channel, self.headers = host, port, channel, headers
        self.requests = self.updates = self.up = self.down = self.unchanged = 0
        self.reader = self.writer = None

    async def connect(self):
        self.reader, self.writer = await asyncio.open_connection(self.host, self.port)

    async def send(self, data):
        self.up += len(data)
        self.writer.write(data)
        await self.writer.drain()

    async def take(self, count):
        data = await self.reader.readexactly(count)
        self.down += count
        return data

    async def head(self):
        data = await self.reader.readuntil(b"\r\n\r\n")
        self.down += len(data)
        lines = data.decode("latin-1").split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
        return int(lines[0].split(" ")[1]), headers

    async def get(self, path, more=""):
        """One request on the connection that is kept alive."""
        if self.writer is None:
            await self.connect()
        self.requests += 1
        request = f"GET {path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\n{self.headers}{more}\r\n"
        await self.send(request.encode())
        status, headers = await self.head()
        body = await self.take(int(headers.get("content-length", 0))) if status != 304 else b""
        return status, headers, body


async def poll(user, options, with_tags):
    """Every few seconds: what is the price?"""
    await asyncio.sleep(random.random() * options.interval)
    tag, last = None, None
    while True:
        began = time.monotonic()
        more = f"If-None-Match: {tag}\r\n" if with_tags and tag else ""
        status, headers, _ = await user.get(f"/v1/channels/{user.channel}/latest", more)
        if status in (200, 304):
            tag = headers["etag"]
            if tag == last:
                user.unchanged += 1
            else:
                user.updates += 1
            last = tag
        await asyncio.sleep(max(0, options.interval - (time.monotonic() - began)))


async def long_poll(user, options):
    """One request waits for the next price."""
    await asyncio.sleep(random.random() * options.interval)
    cursor = ""
    while True:
        status, _, body = await user.get(f"/v1/poll?channels={user.channel}&wait=55&cursor={cursor}")
        if status != 200:
            await asyncio.sleep(1)
            continue
        answer = json.loads(body)
        cursor = answer["cursor"]
        updates = sum(message["type"] == "update" for message in answer["messages"])
        user.updates += updates
        user.unchanged += updates == 0


async def events(user, options):
    """One request, and then prices."""
    await asyncio.sleep(random.random() * options.interval)
    await user.connect()
    user.requests += 1
    request = f"GET /v1/events?channels={user.channel} HTTP/1.1\r\nHost: {user.host}:{user.port}\r\n{user.headers}\r\n"
    await user.send(request.encode())
    await user.head()
    while True:
        line = await user.reader.readline()
        if not line:
            raise ConnectionError("the stream has ended")
        user.down += len(line)
        user.updates += line.startswith(b'data: {"type":"update"')


async def websocket(user, options):
    """One handshake, and then prices. Pings are answered."""
    await asyncio.sleep(random.random() * options.interval)
    await user.connect()
    user.requests += 1
    key = base64.b64encode(os.urandom(16)).decode()
    await user.send(
        f"GET /ws HTTP/1.1\r\nHost: {user.host}:{user.port}\r\n{user.headers}Upgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Protocol: odin.v1.json\r\n\r\n".encode()
    )
    await user.head()
    await send_frame(user, 1, json.dumps({"type": "subscribe", "channels": [user.channel]}).encode())
    while True:
        first, length = await user.take(2)
        if length == 126:
            (length,) = struct.unpack(">H", await user.take(2))
        elif length == 127:
            (length,) = struct.unpack(">Q", await user.take(8))
        payload = await user.take(length)
        if first & 15 == 9:
            await send_frame(user, 10, payload)
        user.updates += payload.startswith(b'{"type":"update"')


async def send_frame(user, opcode, payload):
    mask = os.urandom(4)
    masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
    await user.send(bytes([0x80 | opcode, 0x80 | len(payload)]) + mask + masked)


def gateways_of(pid):
    """Processes of the gateway below this one."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, rest = entry.read_text().split(")", 1)
        except OSError:
            continue
        fields = rest.split()
        parents[int(entry.parent.name)] = (int(fields[1]), name.split("(", 1)[1], int(fields[11]) + int(fields[12]))
    below = {pid}
    while True:
        more = {child for child, (parent, _, _) in parents.items() if parent in below} - below
        if not more:
            break
        below |= more
    return {child: parents[child][2] for child in below if child in parents and parents[child][1] == "ws-gateway"}


def ticks_of(pid):
    return sum(gateways_of(pid).values())


async def measure(name, way, options, address, stage):
    host, port = address.rsplit(":", 1)
    users = [
        User(host, int(port), f"price:{options.names[at % len(options.names)]}", "" if options.bare else BROWSER)
        for at in range(options.users)
    ]
    tasks = [asyncio.create_task(way(user)) for user in users]
    # The first answers, which every way has to have, are over by then.
    await asyncio.sleep(options.interval * 2)
    before = [(user.requests, user.updates, user.up, user.down, user.unchanged) for user in users]
    ticks, began = ticks_of(stage.pid), time.monotonic()
    await asyncio.sleep(options.seconds)
    took, ticks = time.monotonic() - began, ticks_of(stage.pid) - ticks
    failed = [task.exception() for task in tasks if task.done()]
    if failed:
        sys.exit(f"{name}: {failed[0]!r}")
    for task in tasks:
        task.cancel()
    after = [(user.requests, user.updates, user.up, user.down, user.unchanged) for user in users]
    sums = [sum(a[at] - b[at] for a, b in zip(after, before)) for at in range(5)]
    for user in users:
        if user.writer:
            user.writer.close()
    per_minute = 60 / took / options.users
    return {
        "way": name,
        "requests": sums[0] * per_minute,
        "unchanged": sums[4] / sums[0] if sums[0] else 0.0,
        "updates": sums[1] * per_minute,
        "up": sums[2] * per_minute,
        "down": sums[3] * per_minute,
        "cpu_us": ticks * 1e6 / os.sysconf("SC_CLK_TCK") * per_minute,
    }


def tokens_of(address):
    """The simulator's tokens, as the gateway knows them."""
    import urllib.request

    with urllib.request.urlopen(f"http://{address}/v1/channels/price:*/latest") as answer:
        return sorted(update["channel"].split(":")[1] for update in json.load(answer)["messages"])


async def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=60, help="for each way")
    parser.add_argument("--interval", type=float, default=2, help="between two polls of a user")
    parser.add_argument("--tokens", type=int, default=50)
    parser.add_argument("--changes-every", type=float, default=20, help="seconds between two prices of a token")
    parser.add_argument("--bare", action="store_true", help="requests without the headers of a browser")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--programs", type=Path, default=ROOT / "target/release")
    options = parser.parse_args()
    stage = subprocess.Popen(
        [options.programs / "odin-devkit", "stage", "--gateways", "1"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )
    places = json.loads(stage.stdout.readline())
    simulate = [options.programs / "odin-publisher", "simulate", "--nats-url", places["nats"], "--kinds", "price",
                "--tokens", str(options.tokens), "--spread", "0"]
    # Every token has a price before anybody asks.
    subprocess.run([*simulate, "--rate", "max", "--count", str(options.tokens)], check=True, stderr=subprocess.DEVNULL)
    market = subprocess.Popen([*simulate, "--per-token-interval", f"{options.changes_every}s"], stderr=subprocess.DEVNULL)
    try:
        address = places["gateways"][0]["listen"]
        options.names = tokens = tokens_of(address)
        ways = {
            "polling": lambda user: poll(user, options, False),
            "polling with ETag": lambda user: poll(user, options, True),
            "long polling": lambda user: long_poll(user, options),
            "server-sent events": lambda user: events(user, options),
            "WebSocket": lambda user: websocket(user, options),
        }
        rows = [await measure(name, way, options, address, stage) for name, way in ways.items()]
    finally:
        market.terminate()
        market.wait()
        stage.stdin.close()
        stage.wait()
    if options.json:
        print(json.dumps(rows, indent=1))
        return
    print(f"{options.users} users, {len(tokens)} tokens with a price every {options.changes_every:.0f} s, {options.seconds:.0f} s each; for each user and minute:\n")
    print("| way | requests | of them unchanged | updates | bytes sent | bytes received | gateway CPU, µs | bytes for each update |")
    print("|---|---|---|---|---|---|---|---|")
    for row in rows:
        each = (row["up"] + row["down"]) / row["updates"] if row["updates"] else 0
        print(f"| {row['way']} | {row['requests']:.2f} | {row['unchanged']:.0%} | {row['updates']:.2f} | {row['up']:,.0f} | "
              f"{row['down']:,.0f} | {row['cpu_us']:,.0f} | {each:,.0f} |")


asyncio.run(main())
