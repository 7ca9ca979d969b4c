"""
What pods would run, run here: the commands, the file and the probes as they are rendered, with a real NATS. No cluster, so
addresses are this machine's.
"""

import contextlib
import os
import pathlib
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

import pytest
from chart import CHART, ROOT, render_ci

FOLDER = os.environ.get("ODIN_BINARIES")
# How long anything may take that takes no time when all is well. Seconds
PATIENCE = 60

pytestmark = pytest.mark.skipif(not FOLDER and not os.environ.get("CI"), reason="ODIN_BINARIES is not set")


def program(name):
    return str(ROOT / FOLDER / name)


def free_ports(number):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(number)]
        return [one.getsockname()[1] for one in sockets]


@contextlib.contextmanager
def running(command, environment=None):
    """Ends the process by its id, whatever happens."""
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def status(port, probe):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{probe['httpGet']['path']}", timeout=5) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


def wait_for(what):
    end = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.02)


class Scene:
    """The release of ci/dev-values.yaml on this machine."""

    def __init__(self, folder, nats):
        self.rendered = render_ci(CHART / "ci" / "dev-values.yaml")
        self.public, self.admin = free_ports(2)
        self.file = folder / "odin.toml"
        toml = self.rendered.odin_toml().replace("nats://odin-dev-nats:4222", nats)
        toml = toml.replace("0.0.0.0:8080", f"127.0.0.1:{self.public}").replace("0.0.0.0:9090", f"127.0.0.1:{self.admin}")
        self.file.write_text(toml)
        (secret,) = self.rendered.all("Secret")
        self.environment = {"PATH": os.environ["PATH"], **secret["stringData"]}

    def command(self, container):
        """A container's command, with the addresses of this machine."""
        words = [program(container["command"][0]), *container["args"]]
        here = {
            "/etc/odin/odin.toml": str(self.file),
            "ws://odin:80/ws": f"ws://127.0.0.1:{self.public}/ws",
        }
        return [here.get(word, word) for word in words]

    def run(self, container):
        done = subprocess.run(
            self.command(container), env=self.environment, capture_output=True, text=True, timeout=PATIENCE
        )
        return done.returncode, done.stdout + done.stderr

    def container(self, kind, name):
        (found,) = [
            container
            for resource in self.rendered.all(kind)
            for container in (resource["spec"].get("template") or resource)["spec"]["containers"]
            if container["name"] == name
        ]
        return found


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    with running([program("odin-devkit"), "nats", "--port", "0"]) as nats:
        # Before that it may say that it installs a server.
        url = next(found[0] for line in nats.stdout if (found := re.search(r"nats://\S+", line)))
        yield Scene(pathlib.Path(tmp_path_factory.mktemp("scene")), url)
        # It takes its store with it.
        nats.send_signal(signal.SIGINT)
        nats.wait(PATIENCE)


def test_a_gateway_before_its_streams_is_alive_and_not_ready_until_the_job_has_run(scene):
    """Checklist 44: what is missing at the start is waited for. Then the test pod connects, and SIGTERM drains."""
    gateway = scene.rendered.gateway()
    with running(scene.command(gateway), scene.environment) as process:
        wait_for(lambda: status(scene.admin, gateway["startupProbe"]) == 200)
        assert status(scene.admin, gateway["livenessProbe"]) == 200
        assert status(scene.admin, gateway["readinessProbe"]) == 503

        # A second run finds what the first one made.
        for _ in range(2):
            code, output = scene.run(scene.container("Job", "provision"))
            assert code == 0, output
        wait_for(lambda: status(scene.admin, gateway["readinessProbe"]) == 200)

        # Nobody publishes yet.
        code, output = scene.run(scene.container("Pod", "connect"))
        assert code == 0 and '"subscribed"' in output, output

        process.send_signal(signal.SIGTERM)
        process.stdout.read()
        assert process.wait(scene.rendered.pod()["terminationGracePeriodSeconds"]) == 0


def test_the_test_pod_fails_where_no_gateway_is(scene):
    code, output = scene.run(scene.container("Pod", "connect"))
    assert code == 3, output


def test_the_simulator_publishes_what_gateways_serve(scene):
    gateway = scene.rendered.gateway()
    simulator = scene.container("Deployment", "simulator")
    with running(scene.command(gateway), scene.environment):
        wait_for(lambda: status(scene.admin, gateway["readinessProbe"]) == 200)
        nats = re.search(r"nats://[^\"]+", scene.file.read_text())[0]
        with running(scene.command(simulator), {"PATH": os.environ["PATH"], "ODIN_NATS_URL": nats}):
            command = [program("odin"), "tail", "--json", "--count", "2", "--url", f"ws://127.0.0.1:{scene.public}/ws", "price:*"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
            assert done.returncode == 0, done.stderr
