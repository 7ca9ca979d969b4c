"""Real nats-servers, gateways and wires between them, for the experiments of this folder.

Everything runs on loopback in one temporary folder and ends with the lab: only processes that it started are stopped,
by their id. Nothing here speaks through code of odin: the NATS and WebSocket clients are a page each, so that a fault of
odin's own clients cannot hide one of the gateway.
"""

import asyncio
import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAMS = pathlib.Path(os.environ.get("PROGRAMS", ROOT / "target/release"))
NATS_SERVER = os.environ.get("ODIN_NATS_SERVER") or shutil.which("nats-server") or str(ROOT / ".tools/nats/bin/nats-server")
NATS_CLI = os.environ.get("NATS_CLI") or shutil.which("nats") or str(ROOT / ".tools/bin/nats")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def until(what, condition, seconds=30):
    """Waits for something to come true; the answer is how long that took."""
    began = time.monotonic()
    while True:
        with contextlib.suppress(OSError, asyncio.TimeoutError, KeyError, ValueError):
            result = condition()
            if asyncio.iscoroutine(result):
                result = await result
            if result:
                return time.monotonic() - began
        if time.monotonic() - began > seconds:
            raise TimeoutError(f"not within {seconds} s: {what}")
        await asyncio.sleep(0.005)


def say(text=""):
    print(text, flush=True)


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
            head = ("NATS/1.0\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n").encode()
            self.writer.write(f"HPUB {subject} {reply} {len(head)} {len(head) + len(body)}\r\n".encode() + head + body + b"\r\n")
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
    """Publishes numbered prices, one in flight for each token; each is repeated under its id until it is acknowledged."""

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
        # Closed by the server: a write would go nowhere, so there is one connection for all tokens, made anew by the first.
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
    """A WebSocket client that subscribes to all tokens in mode `all`, keeps every update, and comes back with cursors."""

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
        writer.write(b"GET /ws HTTP/1.1\r\nHost: lab\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                     b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
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
        return (f"missing {self.missing(publisher)}, twice {self.twice}, reordered {self.reordered}, "
                f"broken chains {self.broken}{gaps}")

    async def stop(self):
        self.is_stopped = True
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task


class Process:
    def __init__(self, lab, name, command, env=None):
        self.lab, self.name, self.command, self.env = lab, name, [str(word) for word in command], env
        self.log = lab.folder / f"{name}.log"

    def launch(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env={**os.environ, **(self.env or {})})
        self.lab.processes.append(self.process)

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def terminate(self):
        self.process.terminate()
        return self.process.wait(60)

    def lines(self, word=""):
        return [line for line in self.log.read_text(errors="replace").splitlines() if word in line]

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Server(Process):
    def __init__(self, lab, name, config, port, monitor):
        self.port, self.monitor, self.store = port, monitor, lab.folder / f"{name}.store"
        path = lab.folder / f"{name}.conf"
        path.write_text(f'server_name: {name}\nlisten: "127.0.0.1:{port}"\nhttp: "127.0.0.1:{monitor}"\n'
                        "ping_interval: 10s\nwrite_deadline: 10s\n" + config)
        super().__init__(lab, name, [NATS_SERVER, "-c", path])

    @property
    def url(self):
        return f"nats://127.0.0.1:{self.port}"

    def varz(self, what="varz"):
        return json.loads(urllib.request.urlopen(f"http://127.0.0.1:{self.monitor}/{what}", timeout=3).read())


class Gateway(Process):
    def __init__(self, lab, name, urls, options=(), env=None):
        self.port, self.admin = free_port(), free_port()
        command = [PROGRAMS / "ws-gateway", "serve", "--nats-url", ",".join(urls), "--listen", f"127.0.0.1:{self.port}",
                   "--admin-listen", f"127.0.0.1:{self.admin}", "--shards", "1", "--log-format", "text", *options]
        super().__init__(lab, name, command, env)

    def readyz(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/readyz", timeout=3) as answer:
                return "ready" if answer.status == 200 else str(answer.status)
        except urllib.error.HTTPError as error:
            text = error.read().decode(errors="replace")
            with contextlib.suppress(ValueError, KeyError):
                return json.loads(text)["reason"]
            return text.strip()

    def metric(self, *names):
        text = urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/metrics", timeout=3).read().decode()
        found = {}
        for line in text.splitlines():
            name, _, value = line.rpartition(" ")
            if not line.startswith("#"):
                found[name.removeprefix("odin_gateway_")] = float(value)
        return {name: int(found.get(name, 0)) for name in names}

    async def ready(self, seconds=30):
        return await until(f"{self.name} is ready", lambda: self.readyz() == "ready", seconds)


class Lab:
    def __init__(self):
        self.folder, self.processes = pathlib.Path(tempfile.mkdtemp(prefix="odin-lab-")), []

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        for process in self.processes:
            if process.poll() is None:
                with contextlib.suppress(OSError):
                    process.send_signal(signal.SIGCONT)
                process.kill()
                process.wait()
        if failure[0] and failure[0] is not SystemExit:
            say(f"logs are kept in {self.folder}")
        else:
            shutil.rmtree(self.folder, ignore_errors=True)

    def jetstream(self, name, extra="", sync="1s"):
        return f'jetstream {{ store_dir: "{self.folder / name}.store", max_file_store: 2GB, sync_interval: {sync} {extra} }}\n'

    def server(self, name, config=None):
        server = Server(self, name, self.jetstream(name) if config is None else config, free_port(), free_port())
        server.launch()
        return server

    def cluster(self, name, size=3, more=lambda name: "", delay=0.0):
        """Servers with routes to each other; with a delay each pair has a wire of its own, and nobody knows another way."""
        names = [f"{name.lower()}{index}" for index in range(size)]
        routes = {one: free_port() for one in names}
        nowhere, wires, servers = free_port(), {}, []
        for one in names:
            urls = []
            for other in names:
                if other != one:
                    wires[one, other] = Wire(routes[other], delay)
                    urls.append(f'"nats://127.0.0.1:{wires[one, other].port}"')
            config = (self.jetstream(one) + f'cluster {{ name: {name}, listen: "127.0.0.1:{routes[one]}", advertise: "127.0.0.1:{nowhere}"\n'
                      f'  no_advertise: true, pool_size: 3, routes: [{", ".join(urls)}] }}\n' + more(one))
            servers.append(self.server(one, config))
        return servers, wires

    def gateway(self, name, urls, *options, env=None):
        gateway = Gateway(self, name, urls, options, env)
        gateway.launch()
        return gateway

    def run(self, *command, fails=False, **env):
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, errors="replace",
                              stdin=subprocess.DEVNULL, env={**os.environ, **env}, timeout=120)
        if done.returncode and not fails:
            raise RuntimeError(f"{command[0]} {command[1]}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done.returncode, done.stdout + done.stderr

    def provision(self, url, replicas=1, *options, fails=False):
        return self.run(PROGRAMS / "ws-gateway", "provision", "--nats-url", url, "--stream-replicas", replicas, *options, fails=fails)

    def nats(self, url, *command, fails=False):
        return self.run(NATS_CLI, "--server", url, "--no-context", *command, fails=fails)

    async def stream(self, port, name="ODIN", prefix="$JS.API"):
        nats = await Nats().connect(port)
        try:
            return await nats.api(f"STREAM.INFO.{name}", prefix=prefix)
        finally:
            nats.close()

    async def provisioned(self, url, replicas):
        """Provisions as soon as the cluster can."""
        return await until("the streams", lambda: self.provision(url, replicas, fails=True)[0] == 0)


def milliseconds(values):
    if not values:
        return "none"
    values = sorted(values)
    at = lambda share: values[min(len(values) - 1, int(len(values) * share))]
    return f"p50 {statistics.median(values):.0f} ms, p99 {at(0.99):.0f} ms, max {values[-1]:.0f} ms"
