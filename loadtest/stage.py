"""A real odin to put load on: NATS, gateways and a feed of prices, in one place for all load tests.

It starts `odin-devkit stage` and a publisher, and ends both. The programs are those of `target/release`, or of the folder
in ODIN_PROGRAMS; `odin-swarm` may lie in one of its own, ODIN_SWARM.
"""

import itertools
import json
import os
import platform
import random
import subprocess
import threading
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = Path(os.environ.get("ODIN_PROGRAMS", ROOT / "target/release"))
SWARM = Path(os.environ.get("ODIN_SWARM", PROGRAMS / "odin-swarm"))

# A gateway that drains slowly makes a test slow, and nothing else.
DRAIN = ["--drain-pause", "0s", "--drain-window", "3s"]


class Stage:
    """NATS and gateways. Use it in a `with`."""

    def __init__(self, gateways=2, nats=1, options=()):
        command = [PROGRAMS / "odin-devkit", "stage", "--gateways", str(gateways), "--nats", str(nats)]
        self.process = subprocess.Popen(
            [*command, "--", *DRAIN, *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("odin-devkit stage did not start")
        self.places = json.loads(line)
        self.nats = self.places["nats"]
        self.balancer = self.places["balancer"]
        self.gateways = self.places["gateways"]
        self.numbers = itertools.count(1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # Its end is the end of its input: it leaves nothing behind.
        self.process.stdin.close()
        self.process.wait()

    def order(self, what, **more):
        """Does something to it, as `kill_gateway`."""
        self.process.stdin.write(json.dumps({"id": next(self.numbers), "do": what, **more}) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        if not answer["ok"]:
            raise RuntimeError(f"{what}: {answer['error']}")
        return answer

    def pid(self, index):
        """The process that listens for a gateway."""
        listen = self.gateways[index]["listen"].encode()
        for entry in os.scandir("/proc"):
            if entry.name.isdigit():
                try:
                    words = Path(entry.path, "cmdline").read_bytes().split(b"\0")
                except OSError:
                    continue
                if words[0].endswith(b"ws-gateway") and listen in words:
                    return int(entry.name)
        return None

    def metrics(self, index):
        """The sum of each metric of a gateway over its labels; empty if it does not answer."""
        sums = {}
        try:
            with urllib.request.urlopen(f"http://{self.gateways[index]['admin']}/metrics", timeout=5) as answer:
                for line in answer.read().decode().splitlines():
                    if line.startswith("odin_"):
                        name, _, value = line.partition(" ")
                        name = name.partition("{")[0]
                        sums[name] = sums.get(name, 0.0) + float(value.split()[0])
        except OSError:
            pass
        return sums

    def url(self, index=None):
        """Where clients connect: the balancer, or one gateway."""
        return f"ws://{self.balancer if index is None else self.gateways[index]['listen']}/ws"


class Feed:
    """Prices of price:T0 and on, at an even rate, with the moment they were made. Use it in a `with`."""

    def __init__(self, nats, tokens=100, rate=200, pad=0):
        self.tokens, self.rate, self.pad = tokens, rate, "x" * pad
        self.process = subprocess.Popen(
            [PROGRAMS / "odin-publisher", "pipe", "--nats-url", nats, "--payload", "line",
             "--subject-template", "odin.tokens.{tokenId}.price"],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        self.made = 0
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def __enter__(self):
        # Every channel has a value before anybody asks.
        for token in range(self.tokens):
            self.publish(token)
        self.process.stdin.flush()
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.is_over.set()
        self.thread.join()
        self.process.stdin.close()
        self.process.wait()

    def publish(self, token):
        now = time.time_ns() // 1000
        self.made += 1
        payload = {
            "type": "price:update", "tokenId": f"T{token}", "price": round(random.uniform(1, 1000), 2), "volume24h": 1.0,
            "priceChange24h": 0.5, "timestamp": now // 1000, "sentUs": now, "source": "trade", "nonce": f"{self.made:x}",
        }
        if self.pad:
            payload["pad"] = self.pad
        self.process.stdin.write(json.dumps(payload, separators=(",", ":")).encode() + b"\n")

    def run(self):
        began = time.monotonic()
        sent = 0
        while not self.is_over.is_set():
            due = int((time.monotonic() - began) * self.rate)
            # Behind after a pause of the machine: it goes on at its rate and does not make up for it at once.
            due = min(due, sent + max(1, self.rate // 10))
            for number in range(sent, due):
                self.publish(number % self.tokens)
            if due > sent:
                self.process.stdin.flush()
            sent = due
            time.sleep(0.002)


def processor_seconds(pid):
    """CPU time of a process so far."""
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def facts():
    """What a figure is worth nothing without: date, machine, versions, commit."""

    def said(*command):
        try:
            return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True).stdout.strip()
        except (OSError, subprocess.CalledProcessError):
            return None

    model = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), None)
    load = os.getloadavg()
    return {
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "commit": said("git", "describe", "--always", "--dirty"),
        "gateway": said(str(PROGRAMS / "ws-gateway"), "--version"),
        "kernel": platform.release(),
        "cores": os.cpu_count(),
        "cpu": model,
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20,
        "load_average": [round(part, 2) for part in load],
    }


def keep(name, result):
    """Puts a result with its facts into a file named after it and the day, and says where."""
    folder = Path(os.environ.get("RESULTS", ROOT / "loadtest/results"))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{time.strftime('%Y-%m-%d')}-{name}.json"
    path.write_text(json.dumps({"facts": facts(), **result}, indent=1) + "\n")
    return path
