"""A small but whole odin with everything that is scraped: three NATS servers, three gateways, HAProxy, the NATS
exporter or its stand-in, simulator, two clients, Prometheus with the repository's own configuration.

Everything listens on free ports of the loopback and is ended by its process id, whatever happens. Refuses to go on
when a part ends by itself.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from . import exporter
from .files import PROMETHEUS, ROOT

GATEWAYS = 3
TOOLS = [ROOT / ".tools/prometheus/usr/bin", ROOT / ".tools/haproxy/usr/sbin", ROOT / ".tools/bin", Path("/usr/sbin")]
# How long any part may take to be there.
PATIENCE = 45

HAPROXY = """
global
    maxconn 1000
defaults
    mode http
    timeout connect 5s
    timeout client 1h
    timeout server 1h
frontend clients
    bind 127.0.0.1:{listen}
    default_backend gateways
backend gateways
    balance leastconn
    option httpchk GET /readyz
{servers}
frontend stats
    bind 127.0.0.1:{stats}
    http-request use-service prometheus-exporter if {{ path /metrics }}
"""


class StackError(Exception):
    """A part of the stack could not be started, or ended."""


def tool(name):
    """Path of a program: on the PATH, or where tools of the repository are put. None if there is none."""
    path = os.pathsep.join([os.environ.get("PATH", ""), *map(str, TOOLS)])
    return shutil.which(name, path=path)


def needed(name):
    path = tool(name)
    if path is None:
        raise StackError(f"no {name}: run deploy/prometheus/tools.sh, or install Debian's package")
    return path


def free_ports(count):
    """Ports that were free a moment ago."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def get(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read().decode()


class Stack:
    """Use it as a context: it is whole inside, and gone afterwards."""

    def __init__(self, programs):
        self.programs = Path(programs).resolve()
        self.parts, self.exporter = [], None
        # Variables for a gateway of the reader's own must not reach ours.
        self.clean = {name: value for name, value in os.environ.items() if not name.startswith("ODIN_")}

    def __enter__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="odin-observability-"))
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """The last that came goes first; whoever is not gone after five seconds is killed."""
        for name, process in reversed(self.parts):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(timeout=5 if name != "NATS" else 15)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        if self.exporter is not None:
            self.exporter.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, name, *command, **more):
        log = self.folder / f"{name.replace(' ', '-')}.log"
        output = more.pop("stdout", None) or open(log, "w")
        errors = open(log, "w") if output is subprocess.PIPE else subprocess.STDOUT
        more.setdefault("env", self.clean)
        process = subprocess.Popen([*map(str, command)], stdout=output, stderr=errors, stdin=subprocess.DEVNULL, **more)
        self.parts.append((name, process))
        return process

    def provision(self, command):
        """Whether the streams are there. A configuration that is refused will not become better."""
        ran = subprocess.run(command, capture_output=True, text=True, env=self.clean)
        if ran.returncode == 2:
            raise StackError(f"ws-gateway provision: {ran.stderr}")
        return ran.returncode == 0

    def until(self, what, question):
        """Asks until the answer is true. The parts must live meanwhile."""
        end = time.monotonic() + PATIENCE
        while True:
            self.all_live()
            try:
                answer = question()
                if answer:
                    return answer
            except (OSError, ValueError):
                pass
            if time.monotonic() > end:
                raise StackError(f"{what}: not within {PATIENCE} s")
            time.sleep(0.1)

    def all_live(self):
        for name, process in self.parts:
            if process.poll() is not None:
                log = self.folder / f"{name.replace(' ', '-')}.log"
                last = log.read_text()[-2000:] if log.exists() else ""
                raise StackError(f"{name} ended with {process.returncode}: {last}")

    def start(self):
        prometheus, haproxy = needed("prometheus"), needed("haproxy")
        # The devkit finds a nats-server by ODIN_NATS_SERVER, the PATH, or installs one.
        nats = self.run(
            "NATS",
            self.programs / "odin-devkit",
            "nats",
            "--port",
            0,
            "--cluster",
            3,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ,
        )
        lines = [nats.stdout.readline() for _ in range(3)]
        found = [re.search(r"(nats://\S+) monitoring (http://\S+)", line) for line in lines]
        if not all(found):
            raise StackError(f"odin-devkit nats says {lines}")
        urls, monitors = ",".join(f[1] for f in found), [f[2] for f in found]
        gateway = self.programs / "ws-gateway"
        self.until(
            "streams", lambda: self.provision([gateway, "provision", "--nats-url", urls, "--stream-replicas", "3"])
        )

        ports = free_ports(2 * GATEWAYS + 4)
        listens, admins, (balancer, stats, exported, self.port) = ports[:GATEWAYS], ports[GATEWAYS:-4], ports[-4:]
        for i, (listen, admin) in enumerate(zip(listens, admins)):
            self.run(
                f"gateway {i + 1}",
                gateway,
                "serve",
                "--nats-url",
                urls,
                "--shards",
                1,
                "--limits-connections",
                200,
                "--listen",
                f"127.0.0.1:{listen}",
                "--admin-listen",
                f"127.0.0.1:{admin}",
                "--drain-pause",
                "100ms",
                "--drain-window",
                "500ms",
            )
        for admin in admins:
            self.until("readiness", lambda: get(f"http://127.0.0.1:{admin}/readyz"))
        self.export(exported, monitors)
        servers = "\n".join(
            f"    server gateway-{i + 1} 127.0.0.1:{listen} check port {admin} inter 1s"
            for i, (listen, admin) in enumerate(zip(listens, admins))
        )
        config = self.folder / "haproxy.cfg"
        config.write_text(HAPROXY.format(listen=balancer, stats=stats, servers=servers))
        self.run("HAProxy", haproxy, "-db", "-f", config)
        self.run(
            "simulator", self.programs / "odin-publisher", "simulate", "--nats-url", urls, "--tokens", 10, "--rate", 50
        )
        self.until("HAProxy", lambda: get(f"http://127.0.0.1:{stats}/metrics"))
        for i, channel in enumerate(["price:*", "market:summary"]):
            self.run(
                f"client {i + 1}",
                self.programs / "odin",
                "tail",
                "--url",
                f"ws://127.0.0.1:{balancer}/ws",
                channel,
                "--codec",
                ["json", "msgpack"][i],
            )
        targets = {f"gateway-{i + 1}:9090": admin for i, admin in enumerate(admins)}
        self.scrape(
            prometheus, {**targets, "nats-exporter:7777": exported, "haproxy:8404": stats, "localhost:9090": self.port}
        )

    def export(self, port, monitors):
        real = tool("prometheus-nats-exporter")
        self.has_real_exporter = real is not None
        if real:
            self.run(
                "exporter",
                real,
                "-addr",
                "127.0.0.1",
                "-port",
                port,
                "-varz",
                "-healthz",
                "-routez",
                "-jsz=all",
                *monitors,
            )
        else:
            self.exporter = exporter.Exporter(port, monitors)

    def scrape(self, prometheus, targets):
        """The repository's configuration, with other addresses and every second."""
        text = (PROMETHEUS / "prometheus.yml").read_text()
        for name, port in targets.items():
            if f'"{name}"' not in text:
                raise StackError(f"prometheus.yml does not scrape {name}")
            text = text.replace(f'"{name}"', f'"127.0.0.1:{port}"')
        text = text.replace("interval: 15s", "interval: 1s").replace("timeout: 10s", "timeout: 1s")
        text = text.replace("rules/", f"{PROMETHEUS}/rules/")
        config = self.folder / "prometheus.yml"
        config.write_text(text)
        self.run(
            "Prometheus",
            prometheus,
            f"--config.file={config}",
            f"--storage.tsdb.path={self.folder}/tsdb",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--log.level=warn",
        )
        self.until("Prometheus", lambda: get(f"http://127.0.0.1:{self.port}/-/ready"))

    def api(self, path, **parameters):
        """Data of an answer of Prometheus. Raises ValueError with what it says of a query that is none."""
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            answer = json.loads(get(url))
        except urllib.error.HTTPError as error:
            answer = json.load(error)
        if answer["status"] != "success":
            raise ValueError(answer["error"])
        return answer["data"]
