"""Who takes part: a NATS client, a publisher whose messages are all acknowledged, a client that keeps the proof.

A page each, and no code of odin, so that a fault of odin's own clients cannot hide one of the gateway.
"""

import asyncio
import contextlib
import json
import os
import time

from waiting import say, until


class Nats:
    """As much of the NATS protocol as the experiments need."""

    async def connect(self, port, **login):
        self.reader, self.writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", port), 5)
        self.waiting, self.count, self.inbox = {}, 0, f"_INBOX.{os.urandom(6).hex()}"
        self.subscriptions = {}
        info = json.loads((await self.reader.readline())[5:])
        self.server, self.domain = info["server_name"], info.get("domain")
        options = {"verbose": False, "headers": True, "no_responders": True, "name": "lab", **login}
        self.writer.write(f"CONNECT {json.dumps(options)}\r\nSUB {self.inbox}.* 1\r\nPING\r\n".encode())
        self.ponged = asyncio.Event()
        self.task = asyncio.create_task(self.read())
        await asyncio.wait_for(self.ponged.wait(), 5)
        return self

    async def read(self):
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while line := await self.reader.readline():
                words = line.split()
                if words[0] in (b"MSG", b"HMSG"):
                    body = (await self.reader.readexactly(int(words[-1]) + 2))[:-2]
                    head = int(words[-2]) if words[0] == b"HMSG" else 0
                    self.take(words[1].decode(), int(words[2]), body[:head].decode(), body[head:])
                elif words[0] == b"PING":
                    self.writer.write(b"PONG\r\n")
                elif words[0] == b"PONG":
                    self.ponged.set()
                elif words[0] == b"-ERR":
                    say(f"  nats: {line.decode().strip()}")

    def take(self, subject, sid, headers, body):
        if sid in self.subscriptions:
            self.subscriptions[sid](subject, headers, body)
        elif (future := self.waiting.get(subject)) and not future.done():
            future.set_result((headers, body))

    def subscribe(self, subject, take):
        sid = len(self.subscriptions) + 2
        self.subscriptions[sid] = take
        self.writer.write(f"SUB {subject} {sid}\r\n".encode())

    async def request(self, subject, body=b"", headers=None, seconds=2):
        self.count += 1
        reply = f"{self.inbox}.{self.count}"
        future = self.waiting[reply] = asyncio.get_running_loop().create_future()
        head = b""
        if headers:
            head = (
                "NATS/1.0\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n"
            ).encode()
            self.writer.write(
                f"HPUB {subject} {reply} {len(head)} {len(head) + len(body)}\r\n".encode() + head + body + b"\r\n"
            )
        else:
            self.writer.write(f"PUB {subject} {reply} {len(body)}\r\n".encode() + body + b"\r\n")
        try:
            return await asyncio.wait_for(future, seconds)
        finally:
            del self.waiting[reply]

    async def api(self, subject, ask=None, prefix="$JS.API", seconds=5):
        body = json.dumps(ask).encode() if ask is not None else b""
        _, answer = await self.request(f"{prefix}.{subject}", body, seconds=seconds)
        return json.loads(answer) if answer else {"error": {"description": "no responders"}}

    def close(self):
        self.task.cancel()
        self.writer.transport.abort()


class Publisher:
    """Publishes numbered prices, one in flight for each token; each is repeated under its id until acknowledged."""

    def __init__(self, port, tokens=("AAA", "BBB", "CCC", "DDD"), per_second=10):
        self.port, self.tokens, self.pause = port, tokens, 1 / per_second
        self.acked = {token: {} for token in tokens}
        self.ack_ms, self.longest, self.is_stopped, self.lock = [], 0.0, False, asyncio.Lock()

    async def start(self):
        self.nats = await Nats().connect(self.port)
        self.tasks = [asyncio.create_task(self.run(token)) for token in self.tokens]
        return self

    async def run(self, token):
        number = 0
        while not self.is_stopped:
            number += 1
            body = json.dumps({"type": "price:update", "tokenId": token, "n": number, "at": time.time()}).encode()
            headers, began = {"Nats-Msg-Id": f"{id(self)}-{token}-{number}"}, time.monotonic()
            while True:
                try:
                    _, answer = await self.request(token, body, headers)
                    ack = json.loads(answer)
                    if "error" not in ack:
                        break
                except (asyncio.TimeoutError, ValueError, OSError):
                    pass
                if self.is_stopped:
                    return
                await asyncio.sleep(0.05)
            took = time.monotonic() - began
            self.ack_ms.append(took * 1000)
            self.longest = max(self.longest, took)
            self.acked[token][ack["seq"]] = number
            await asyncio.sleep(self.pause)

    async def request(self, token, body, headers):
        # All tokens share a connection; the first that finds it closed makes another.
        async with self.lock:
            if self.nats.task.done():
                self.nats.close()
                self.nats = await Nats().connect(self.port)
        return await self.nats.request(f"odin.tokens.{token}.price", body, headers)

    async def stop(self):
        self.is_stopped = True
        await asyncio.gather(*self.tasks)
        self.nats.close()
        return self

    def stored(self):
        return sum(len(of) for of in self.acked.values())


class Client:
    """Subscribes to all tokens in mode `all`, keeps every update, and comes back with cursors."""

    def __init__(self, name, gateway, tokens=("AAA", "BBB", "CCC", "DDD"), resumes=True):
        self.name, self.gateway, self.tokens, self.resumes = name, gateway, tokens, resumes
        self.got = {token: {} for token in tokens}
        self.last, self.begins, self.epoch, self.epochs = {}, {}, None, []
        self.told, self.answers, self.gaps, self.ms = [], [], [], []
        self.twice = self.reordered = self.broken = self.snapshots = 0
        self.cursors, self.is_stopped, self.began = {}, False, time.monotonic()
        self.closes = []

    async def start(self):
        self.task = asyncio.create_task(self.run())
        self.joined = await until(f"{self.name} subscribed", lambda: len(self.answers) >= len(self.tokens), 90)
        return self

    async def run(self):
        while not self.is_stopped:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.TimeoutError):
                await self.connection()
            await asyncio.sleep(0.1)

    async def connection(self):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.gateway.port)
        self.writer = writer
        writer.write(
            b"GET /ws HTTP/1.1\r\nHost: lab\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        self.say(8 * b"")  # nothing: the gateway speaks first
        entries = []
        for token in self.tokens:
            entry = {"channel": f"price:{token}", "mode": "all"}
            if self.resumes and token in self.cursors:
                entry["since"] = self.cursors[token]
            entries.append(entry)
        self.say(json.dumps({"type": "subscribe", "id": 1, "channels": entries}).encode())
        try:
            while True:
                head = await reader.readexactly(2)
                length = head[1] & 127
                if length == 126:
                    length = int.from_bytes(await reader.readexactly(2), "big")
                elif length == 127:
                    length = int.from_bytes(await reader.readexactly(8), "big")
                body = await reader.readexactly(length)
                if head[0] & 15 == 9:
                    self.say(body, 10)
                elif head[0] & 15 == 8:
                    return self.closes.append(int.from_bytes(body[:2], "big"))
                elif head[0] & 15 == 1:
                    self.take(json.loads(body))
        finally:
            writer.transport.abort()

    def say(self, body, opcode=1):
        if not body and opcode == 1:
            return
        mask = bytes(4)
        length = bytes([128 | len(body)]) if len(body) < 126 else bytes([128 | 126]) + len(body).to_bytes(2, "big")
        self.writer.write(bytes([128 | opcode]) + length + mask + body)

    def take(self, message):
        at = time.monotonic() - self.began
        kind = message["type"]
        if kind == "update":
            self.update(message)
        elif kind == "gap":
            self.gaps.append((message["channel"], message["after"], message["until"], message["reason"]))
            token = message["channel"].split(":")[1]
            if token in self.last:
                self.last[token] = max(self.last[token], message["until"])
        elif kind in ("stale", "live"):
            self.told.append((round(at, 1), kind, message.get("reason"), message.get("channel")))
        elif kind == "subscribed":
            token = message["channel"].split(":")[1]
            self.answers.append((message["channel"], message["recovered"], message.get("reason")))
            if message.get("reason") in ("epoch_changed", "rolled_back"):
                self.last.pop(token, None)
            if not message["recovered"]:
                self.begins[token] = None
        elif kind in ("error", "unsubscribed"):
            self.told.append((round(at, 1), kind, message.get("code"), message.get("channel")))

    def update(self, message):
        token = message["channel"].split(":")[1]
        seq, epoch = message["seq"], message["epoch"]
        if epoch != self.epoch:
            self.epoch = epoch
            self.epochs.append(epoch)
            self.last.clear()
        if message.get("snapshot"):
            self.snapshots += 1
            self.begins[token] = seq
        elif self.begins.get(token) is None:
            self.begins[token] = seq
        elif token in self.last and seq <= self.last[token]:
            if seq in self.got[token]:
                self.twice += 1
            else:
                self.reordered += 1
        elif token in self.last and message.get("prev", 0) > self.last[token]:
            self.broken += 1
        self.got[token][(epoch, seq)] = message["data"].get("n")
        self.last[token] = seq
        self.cursors[token] = f"1.{epoch}.{seq}.{message['ts']}"
        if not message.get("snapshot") and "at" in message["data"]:
            self.ms.append((time.time() - message["data"]["at"]) * 1000)

    def move(self, gateway):
        """To another gateway, with what it has as cursors."""
        self.gateway = gateway
        self.answers.clear()
        self.writer.transport.abort()

    def values(self):
        return {token: set(numbers.values()) for token, numbers in self.got.items()}

    def missing(self, publisher):
        """Numbers that were acknowledged and that this client never had, though it had an earlier one."""
        lost = 0
        for token, numbers in self.values().items():
            wanted = set(publisher.acked[token].values())
            lost += len([n for n in wanted if numbers and n > min(numbers) and n not in numbers])
        return lost

    async def caught_up(self, publisher, seconds=60):
        def is_there():
            have = self.values()
            return all(not of or max(of.values()) in have[token] for token, of in publisher.acked.items())

        try:
            return await until("the newest values", is_there, seconds)
        except TimeoutError:
            return None

    def proof(self, publisher):
        reasons = " ".join(sorted({reason for *_, reason in self.gaps}))
        gaps = f", announced gaps {len(self.gaps)} ({reasons})" if self.gaps else ""
        return (
            f"missing {self.missing(publisher)}, twice {self.twice}, reordered {self.reordered}, "
            f"broken chains {self.broken}{gaps}"
        )

    async def stop(self):
        self.is_stopped = True
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task
