#!/usr/bin/env python3
"""Checks what lies in deploy/ and docker-compose.yml with the programs that read it: `make compose-check`.

Each file is read by the real program with the environment that docker-compose.yml gives it. A program that is not on this
machine is said, and fails the check only with --strict.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
SECRETS = ROOT / "deploy/development.env"
TOOLS = ROOT / ".tools"
# Debian keeps servers where not everybody's PATH goes.
PATH = os.pathsep.join([str(TOOLS / "bin"), str(TOOLS / "nats/bin"), str(TOOLS / "hadolint/bin"), os.environ["PATH"], "/usr/sbin"])

missing, failed = [], []


def program(name):
    found = shutil.which(name, path=PATH)
    if found is None:
        missing.append(name)
        print(f"not run  {name}: not on this machine")
    return found


def check(what, command, environment=None, says=None):
    """Runs a command, which has to succeed; what it says is shown if it does not."""
    base = {name: value for name, value in os.environ.items() if not name.startswith("ODIN_")}
    done = subprocess.run(command, env=base | (environment or {}), cwd=ROOT, capture_output=True, text=True)
    good = done.returncode == 0 and (says is None or says in done.stdout + done.stderr)
    report(what, good, (done.stdout + done.stderr).strip())
    return done.stdout if good else None


def report(what, good, reason=""):
    print(f"{'good' if good else 'FAILED':7}  {what}")
    if not good:
        failed.append(what)
        print(reason)


def compose(name):
    command = [name, "--env-file", str(SECRETS), "--profile", "*", "config", "--format", "json"]
    text = check("docker-compose.yml, all profiles", command)
    if text is None:
        return {}
    without = subprocess.run([name, "config", "--quiet"], cwd=ROOT, capture_output=True, text=True)
    report("docker-compose.yml refuses to start without secrets", "development.env" in without.stderr, without.stderr)
    services = json.loads(text)["services"]
    for name, service in services.items():
        hardened = service.get("read_only") and service.get("cap_drop") == ["ALL"] and "mem_limit" in service
        report(f"{name} is hardened", bool(hardened and "no-new-privileges:true" in service["security_opt"]))
    for name in ("gateway-1", "gateway-2", "gateway-3"):
        # drain.pause + drain.window
        environment = services[name]["environment"]
        seconds = sum(int(environment[f"ODIN_DRAIN_{part}"].removesuffix("s")) for part in ("PAUSE", "WINDOW"))
        grace = int(services[name]["stop_grace_period"].removesuffix("s"))
        report(f"{name} has time to drain", grace > seconds, f"{grace} s, and it takes {seconds} s")
    return services


def main():
    parser = argparse.ArgumentParser(description="Checks the files of deploy/ with the programs that read them.")
    parser.add_argument("--strict", action="store_true", help="fail where a program is missing")
    parser.add_argument("--gateway", help="program of the gateway, to check what compose sets")
    args = parser.parse_args()

    docker = program("docker-compose")
    services = compose(docker) if docker else {}
    environment = {name: service.get("environment") or {} for name, service in services.items()}

    if haproxy := program("haproxy"):
        # Names of a compose network are not known here: servers without an address are allowed.
        settings = environment.get("haproxy", {"GATEWAY_1": "127.0.0.1:8080"})
        check("haproxy.cfg", [haproxy, "-c", "-f", "deploy/haproxy/haproxy.cfg"], settings, says="is valid")
    if nats := program("nats-server"):
        settings = environment.get("nats-1", a_node())
        check("nats.conf", [nats, "-t", "-c", "deploy/nats/nats.conf"], settings, says="is valid")
    if collector := program("otelcol"):
        settings = {"OTEL_TRACES_ENDPOINT": "jaeger:4317", "OTEL_METRICS_ENDPOINT": "http://prometheus:9090/api/v1/otlp"}
        settings |= environment.get("otel-collector", {})
        check("collector", [collector, "validate", "--config", "deploy/otel-collector/config.yaml"], settings)
    if hadolint := program("hadolint"):
        check("Dockerfile", [hadolint, "deploy/Dockerfile"])
    if args.gateway and services:
        for name in ("gateway-1", "provision"):
            check(f"options of {name}", [args.gateway, "check-config"], environment[name])
    if analyze := program("systemd-analyze"):
        units(analyze)

    pinned = re.search(r'channel = "(.+)"', (ROOT / "rust-toolchain.toml").read_text()).group(1)
    image = re.search(r"ARG RUST_VERSION=(.+)", (ROOT / "deploy/Dockerfile").read_text()).group(1)
    report("the image is built with the pinned Rust", pinned == image, f"{pinned} and {image}")

    if failed or (args.strict and missing):
        sys.exit(f"failed: {', '.join(failed) or 'nothing'}; not run: {', '.join(missing) or 'nothing'}")


def a_node():
    """What nats.conf needs, where compose is not there to say it."""
    settings = {"NATS_NAME": "nats-1", "NATS_ROUTES": "[nats://route:x@127.0.0.1:6222]", "NATS_STORE": "/data"}
    settings |= {f"NATS_{name}": "127.0.0.1:4222" for name in ("LISTEN", "MONITOR", "ROUTE")}
    return settings | {f"NATS_{user}_PASSWORD": "x" for user in ("GATEWAY", "PUBLISHER", "OPERATOR", "CLUSTER")}


def units(analyze):
    """The programs need not be installed: others stand for them."""
    folder = TOOLS / "units"
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for unit in sorted((ROOT / "deploy/systemd").glob("*.service")):
        text = re.sub(r"/usr/local/bin/(ws-gateway|odin-publisher|odin-feed)", "/bin/true", unit.read_text())
        path = folder / unit.name
        path.write_text(text)
        paths.append(str(path))
    check("units of systemd", [analyze, "verify", "--man=no", *paths])


main()
