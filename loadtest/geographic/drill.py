#!/usr/bin/env python3
"""The drill of docs/operations/disaster-recovery.md: things are destroyed and brought back while clients are connected.

    loadtest/geographic/drill.py [purge backup deleted restored renamed disks control region]

Without names all of them are run, each on a nats-server and a gateway of its own. Needs the `nats` command line.
"""

import argparse
import asyncio
import base64
import calendar
import hashlib
import hmac
import json
import shutil
import socket
import time
import urllib.request

from lab import Lab
from speakers import Client, Nats, Publisher
from waiting import say, until

SECRET = "only for drills, and never for anything else"
ADMIN = "only for drills, never else"
AUTH = ("--auth-algorithms", "HS256", "--auth-hs256-secret", SECRET, "--admin-token", ADMIN)


def token(sub):
    def part(value):
        return base64.urlsafe_b64encode(value).rstrip(b"=")

    claims = {"sub": sub, "exp": int(time.time()) + 600, "iat": int(time.time()) - 1}
    body = part(b'{"alg":"HS256","typ":"JWT"}') + b"." + part(json.dumps(claims).encode())
    return (body + b"." + part(hmac.new(SECRET.encode(), body, hashlib.sha256).digest())).decode()


class Stage:
    """A server, a gateway, a publisher and a client; the same for every part of the drill."""

    def __init__(self, lab):
        self.lab = lab

    async def start(self, *options):
        self.server = self.lab.server(f"nats-{time.time_ns()}")
        await until("nats", lambda: self.server.varz("healthz")["status"] == "ok")
        self.lab.provision(self.server.url)
        self.gateway = self.lab.gateway(f"gateway-{time.time_ns()}", [self.server.url], *options)
        await self.gateway.ready()
        self.publisher = await Publisher(self.server.port).start()
        self.client = await Client("client", self.gateway).start()
        self.client.answers.clear()
        await asyncio.sleep(2)
        return self

    async def nats(self, *command, fails=False):
        """The `nats` command line; in a thread, for publisher and client go on."""
        return await asyncio.to_thread(self.lab.nats, self.server.url, *command, fails=fails)

    async def provision(self):
        return await asyncio.to_thread(self.lab.provision, self.server.url)

    async def state(self):
        info = await self.lab.stream(self.server.port)
        if "error" in info:
            return info["error"]["description"]
        state = info["state"]
        return f"created {info['created'][11:23]}, sequences {state['first_seq']} to {state['last_seq']}"

    async def report(self):
        say(f"  readyz: {self.gateway.readyz()}; stream: {await self.state()}")
        say(
            f"  client: told {self.client.told}; subscribed again {self.client.answers}; "
            f"epochs {len(self.client.epochs)}; closed {self.client.closes}"
        )

    async def end(self):
        await self.publisher.stop()
        there = await self.client.caught_up(self.publisher, 20)
        say(
            f"  at the end: {'at the newest values' if there is not None else 'NOT at the newest values'}; "
            f"{self.client.proof(self.publisher)}"
        )
        walker = Client("walker", self.gateway)
        walker.cursors = dict(self.client.cursors)
        await walker.start()
        reasons = sorted({reason for _, recovered, reason in walker.answers if not recovered})
        say(
            f"  resume with its newest cursors: recovered {sum(r for _, r, _ in walker.answers)} of 4 {' '.join(reasons)}"
        )
        await walker.stop()
        await self.client.stop()


async def purge(stage):
    await stage.start()
    for stream in ("ODIN", "ODIN_LAST", "ODIN_CTL"):
        code, text = await stage.nats("stream", "purge", stream, "-f", fails=True)
        say(f"  nats stream purge {stream}: {'done' if code == 0 else text.strip().splitlines()[-1]}")
    code, text = await stage.nats("stream", "rmm", "ODIN", "1", "-f", fails=True)
    say(f"  nats stream rmm ODIN 1: {'done' if code == 0 else text.strip().splitlines()[-1]}")
    await asyncio.sleep(1)
    await stage.report()
    await stage.end()


async def backup(stage):
    await stage.start()
    folder = stage.lab.folder / "backup"
    began = time.monotonic()
    await stage.nats("stream", "backup", "ODIN", folder)
    size = sum(file.stat().st_size for file in folder.iterdir())
    say(
        f"  nats stream backup ODIN: {time.monotonic() - began:.1f} s, {size} bytes, {sorted(f.name for f in folder.iterdir())}; "
        f"{await stage.state()}"
    )
    await stage.report()
    await stage.end()


async def deleted(stage):
    await stage.start()
    await stage.nats("stream", "rm", "ODIN", "-f")
    say("  nats stream rm ODIN (deny_delete is about messages)")
    await asyncio.sleep(14)
    await stage.report()
    await stage.provision()
    say(f"  ws-gateway provision; ready after {await stage.gateway.ready():.1f} s")
    await asyncio.sleep(4)
    await stage.report()
    await stage.end()


async def restore(stage, is_renamed):
    await stage.start()
    folder = stage.lab.folder / f"backup-{is_renamed}"
    await stage.nats("stream", "backup", "ODIN", folder)
    say(f"  backup: {await stage.state()}")
    await asyncio.sleep(4)
    say(f"  deleted: {await stage.state()}")
    await stage.nats("stream", "rm", "ODIN", "-f")
    await asyncio.sleep(4)
    options = []
    if is_renamed:
        # backup.json holds the configuration as it was.
        config = json.loads((folder / "backup.json").read_text())["config"]
        config["metadata"]["odin_epoch"] = f"restored-{time.time_ns()}"
        path = folder.with_suffix(".config.json")
        path.write_text(json.dumps(config))
        options = ["--config", path]
    code, text = await stage.nats("stream", "restore", folder, *options, fails=True)
    say(
        f"  nats stream restore{' with another odin_epoch' if is_renamed else ''}: {'done' if code == 0 else text.strip()}; {await stage.state()}"
    )
    await asyncio.sleep(8)
    await stage.report()
    say(f"  gateway's log: {[line.split(maxsplit=2)[2].strip() for line in stage.gateway.lines('WARN')]}")
    await stage.end()


async def restored(stage):
    await restore(stage, False)


async def renamed(stage):
    await restore(stage, True)


async def disks(stage):
    await stage.start()
    stage.server.kill()
    shutil.rmtree(stage.server.store)
    await asyncio.sleep(3)
    stage.server.launch()
    say("  server killed, its store deleted, server started")
    await asyncio.sleep(12)
    await stage.report()
    await stage.provision()
    say(f"  ws-gateway provision; ready after {await stage.gateway.ready():.1f} s")
    await asyncio.sleep(4)
    await stage.report()
    await stage.end()


def admin(gateway, path, body=None):
    request = urllib.request.Request(
        f"http://127.0.0.1:{gateway.admin}{path}",
        body and json.dumps(body).encode(),
        {"Authorization": f"Bearer {ADMIN}", "Content-Type": "application/json"},
    )
    return json.loads(urllib.request.urlopen(request, timeout=5).read())


def door(gateway, sub):
    """What a handshake of this user is answered with."""
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=5) as one:
        one.sendall(
            "GET /ws HTTP/1.1\r\nHost: lab\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer {token(sub)}\r\n\r\n".encode()
        )
        return one.recv(12)[9:].decode()


async def control(stage):
    await stage.start(*AUTH)
    admin(stage.gateway, "/v1/revocations", {"sub": "mallory", "expiresIn": "1h"})
    await asyncio.sleep(1)
    say(f"  mallory is revoked: handshake {door(stage.gateway, 'mallory')}")
    folder = stage.lab.folder / "backup-control"
    await stage.nats("stream", "backup", "ODIN_CTL", folder)
    await stage.nats("stream", "rm", "ODIN_CTL", "-f")
    await asyncio.sleep(3)
    say(
        f"  ODIN_CTL deleted: {stage.gateway.readyz()}, control_lost {stage.gateway.metric('control_lost')['control_lost']}, "
        f"mallory {door(stage.gateway, 'mallory')}"
    )
    late = stage.lab.gateway("late", [stage.server.url], *AUTH)
    await asyncio.sleep(3)
    say(f"  a gateway that starts now: {late.readyz()}, mallory {door(late, 'mallory')}")
    await stage.provision()
    await late.ready()
    await asyncio.sleep(2)
    say(
        f"  after ws-gateway provision: the old gateway {door(stage.gateway, 'mallory')}, the new one {door(late, 'mallory')}"
    )
    await stage.nats("stream", "rm", "ODIN_CTL", "-f")
    await stage.nats("stream", "restore", folder)
    await asyncio.sleep(3)
    say(
        f"  after nats stream restore of ODIN_CTL: the old gateway {door(stage.gateway, 'mallory')}, the new one {door(late, 'mallory')}"
    )
    fresh = stage.lab.gateway("fresh", [stage.server.url], *AUTH)
    await fresh.ready()
    say(f"  one that starts then: {door(fresh, 'mallory')}")
    await stage.end()


async def region(stage):
    await stage.start()
    folder = stage.lab.folder / "backup-region"
    await stage.nats("stream", "backup", "ODIN", folder)
    before = await stage.state()
    await asyncio.sleep(3)
    await stage.publisher.stop()
    await stage.client.caught_up(stage.publisher)
    cursors = dict(stage.client.cursors)
    say(f"  backup: {before}; when the region was lost: {await stage.state()}")
    old = {token: list(of) for token, of in stage.client.got.items()}
    stage.gateway.kill()
    stage.server.kill()
    other = stage.lab.server("elsewhere")
    await until("nats", lambda: other.varz("healthz")["status"] == "ok")
    stage.server = other
    await stage.nats("stream", "restore", folder)
    await stage.provision()
    gateway = stage.gateway = stage.lab.gateway("elsewhere-gateway", [other.url])
    await gateway.ready()
    say(f"  restored elsewhere: {await stage.state()}")
    returns = Client("returning", gateway)
    returns.cursors = cursors
    await returns.start()
    say(f"  a client that had everything comes back: {returns.answers}")
    late = Client("behind", gateway)
    for name, seen in old.items():
        epoch, seq = seen[1]
        stored = await message(other.port, seq)
        late.cursors[name] = f"1.{epoch}.{seq}.{stored}"
    await late.start()
    say(f"  one that had left before the backup: {late.answers}")
    stage.publisher = await Publisher(other.port).start()
    await asyncio.sleep(3)
    await stage.publisher.stop()
    for client in (returns, late):
        await client.caught_up(stage.publisher)
        say(f"  {client.name}: {client.proof(stage.publisher)}, epochs {len(client.epochs)}")
        await client.stop()
    await stage.client.stop()


async def message(port, seq):
    """The time of a stored message, in milliseconds."""
    nats = await Nats().connect(port)
    head, _ = await nats.request("$JS.API.DIRECT.GET.ODIN", json.dumps({"seq": seq}).encode())
    nats.close()
    stamp = next(line for line in head.splitlines() if line.startswith("Nats-Time-Stamp")).split(" ", 1)[1].strip()
    whole, _, part = stamp.rstrip("Z").partition(".")
    return calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) * 1000 + int((part + "000")[:3])


PARTS = {part.__name__: part for part in (purge, backup, deleted, restored, renamed, disks, control, region)}


async def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []])
    args = parser.parse_args()
    for name in args.parts or PARTS:
        say(f"\n{name}")
        with Lab() as lab:
            await PARTS[name](Stage(lab))


asyncio.run(main())
