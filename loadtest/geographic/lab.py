"""Real nats-servers and gateways for the experiments of this folder.

Everything runs on loopback in one temporary folder and ends with the lab: only processes that it started are stopped,
by their id.
"""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import urllib.error
import urllib.request

from speakers import Nats
from waiting import free_port, say, until
from wire import Wire

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAMS = pathlib.Path(os.environ.get("PROGRAMS", ROOT / "target/release"))
NATS_SERVER = (
    os.environ.get("ODIN_NATS_SERVER") or shutil.which("nats-server") or str(ROOT / ".tools/nats/bin/nats-server")
)
NATS_CLI = os.environ.get("NATS_CLI") or shutil.which("nats") or str(ROOT / ".tools/bin/nats")


class Process:
    def __init__(self, lab, name, command, env=None):
        self.lab, self.name, self.command, self.env = lab, name, [str(word) for word in command], env
        self.log = lab.folder / f"{name}.log"

    def launch(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **(self.env or {})}
            )
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
        path.write_text(
            f'server_name: {name}\nlisten: "127.0.0.1:{port}"\nhttp: "127.0.0.1:{monitor}"\n'
            "ping_interval: 10s\nwrite_deadline: 10s\n" + config
        )
        super().__init__(lab, name, [NATS_SERVER, "-c", path])

    @property
    def url(self):
        return f"nats://127.0.0.1:{self.port}"

    def varz(self, what="varz"):
        return json.loads(urllib.request.urlopen(f"http://127.0.0.1:{self.monitor}/{what}", timeout=3).read())


class Gateway(Process):
    def __init__(self, lab, name, urls, options=(), env=None):
        self.port, self.admin = free_port(), free_port()
        command = [
            PROGRAMS / "ws-gateway",
            "serve",
            "--nats-url",
            ",".join(urls),
            "--listen",
            f"127.0.0.1:{self.port}",
            "--admin-listen",
            f"127.0.0.1:{self.admin}",
            "--shards",
            "1",
            "--log-format",
            "text",
            *options,
        ]
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
        """Servers with routes to each other; each pair has a wire of its own, and nobody knows another way."""
        names = [f"{name.lower()}{index}" for index in range(size)]
        routes = {one: free_port() for one in names}
        nowhere, wires, servers = free_port(), {}, []
        for one in names:
            urls = []
            for other in names:
                if other != one:
                    wires[one, other] = Wire(routes[other], delay)
                    urls.append(f'"nats://127.0.0.1:{wires[one, other].port}"')
            config = (
                self.jetstream(one)
                + f'cluster {{ name: {name}, listen: "127.0.0.1:{routes[one]}", advertise: "127.0.0.1:{nowhere}"\n'
                f"  no_advertise: true, pool_size: 3, routes: [{', '.join(urls)}] }}\n" + more(one)
            )
            servers.append(self.server(one, config))
        return servers, wires

    def gateway(self, name, urls, *options, env=None):
        gateway = Gateway(self, name, urls, options, env)
        gateway.launch()
        return gateway

    def run(self, *command, fails=False, **env):
        done = subprocess.run(
            [str(word) for word in command],
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            env={**os.environ, **env},
            timeout=120,
        )
        if done.returncode and not fails:
            raise RuntimeError(f"{command[0]} {command[1]}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done.returncode, done.stdout + done.stderr

    def provision(self, url, replicas=1, *options, fails=False):
        return self.run(
            PROGRAMS / "ws-gateway",
            "provision",
            "--nats-url",
            url,
            "--stream-replicas",
            replicas,
            *options,
            fails=fails,
        )

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
