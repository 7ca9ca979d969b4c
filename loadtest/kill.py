#!/usr/bin/env python3
"""Kills one of several gateways behind HAProxy under load, and shows how its clients come back.

    loadtest/kill.py --clients 30000 --processes 3 --balancers 4

A process of HAProxy needs two files for each connection, so several of them listen on one port (SO_REUSEPORT) and the
kernel deals connections out to them. Every client holds its positions: the run counts only if all are back, nothing is
lost and nothing comes twice. It ends with 1 otherwise.
"""

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from stage import SWARM, Feed, Stage, keep

CONFIG = """\
global
    maxconn {most}
    nbthread 1
    stats socket {folder}/{name}.sock mode 600 level admin

defaults
    mode http
    # A gateway that is gone is found by whoever is sent to it, before a check finds it. A handshake that it was asked for
    # and did not answer goes to another one.
    retries 3
    option redispatch 1
    retry-on conn-failure empty-response
    timeout connect 2s
    timeout client 1m
    timeout server 1m
    timeout tunnel 1h

frontend clients
    bind 127.0.0.1:{port}
    default_backend gateways

backend gateways
    balance leastconn
    option httpchk GET /readyz
    source {source}
    default-server check inter 500ms fall 1 rise 2 observe layer4 error-limit 1 on-error mark-down
{servers}
"""


def start_balancers(stage, options, folder):
    """So many processes of HAProxy on one port."""
    # Below the range of ports that connections are given: one of those could be in use when the next process binds.
    with open("/proc/sys/net/ipv4/ip_local_port_range") as text:
        first = int(text.read().split()[0])
    port = options.port or next(port for port in (first - 1 - os.getpid() % 5000 - at for at in range(100)) if is_free(port))
    servers = "\n".join(
        f"    server gateway-{at} {place['listen']} port {place['admin'].rsplit(':', 1)[1]}"
        for at, place in enumerate(stage.gateways)
    )
    # Its own files, and two for each connection.
    most = min((options.files - 200) // 2, 2 * options.clients // options.balancers + 1000)
    processes = []
    for at in range(options.balancers):
        path = Path(folder, f"haproxy-{at}.cfg")
        path.write_text(CONFIG.format(most=most, folder=folder, name=f"haproxy-{at}", port=port,
                                      source=f"127.0.0.{100 + at}", servers=servers))
        processes.append(subprocess.Popen([options.haproxy, "-db", "-f", str(path)], stderr=subprocess.DEVNULL))
    deadline = time.monotonic() + 20
    while not all(is_ready(folder, at, len(stage.gateways)) for at in range(options.balancers)):
        if time.monotonic() > deadline or any(process.poll() is not None for process in processes):
            raise SystemExit("HAProxy does not start")
        time.sleep(0.2)
    return port, processes


def is_free(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def is_ready(folder, at, gateways):
    """Whether that HAProxy has found all gateways up."""
    try:
        with socket.socket(socket.AF_UNIX) as stats:
            stats.connect(f"{folder}/haproxy-{at}.sock")
            stats.sendall(b"show stat\n")
            text = b"".join(iter(lambda: stats.recv(65536), b"")).decode()
    except OSError:
        return False
    return sum(",UP" in line for line in text.splitlines() if line.startswith("gateways,gateway-")) == gateways


def connections(stage):
    return [int(stage.metrics(at).get("odin_gateway_connections", 0)) for at in range(len(stage.gateways))]


def wait_for(what, limit_s, is_so):
    deadline = time.monotonic() + limit_s
    while not is_so():
        if time.monotonic() > deadline:
            print(f"waited {limit_s} s for {what}", file=sys.stderr)
            return False
        time.sleep(0.5)
    return True


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=2000)
    parser.add_argument("--processes", type=int, default=2, help="of odin-swarm, each with its share of the clients")
    parser.add_argument("--balancers", type=int, default=2, help="processes of HAProxy")
    parser.add_argument("--gateways", type=int, default=3)
    parser.add_argument("--rate", type=int, default=50, help="updates each second, of 100 channels")
    parser.add_argument("--connect-rate", type=int, default=1000, help="new connections each second at the beginning")
    parser.add_argument("--before", type=int, default=10, help="seconds for which all are there before the kill")
    parser.add_argument("--after", type=int, default=40, help="seconds for which they may come back")
    parser.add_argument("--transport", default="ws", choices=["ws", "mix"])
    parser.add_argument("--signal", default="kill", choices=["kill", "drain"], help="kill -9, or SIGTERM")
    parser.add_argument("--files", type=int, default=20000, help="files that a process may open")
    parser.add_argument("--port", type=int, help="of HAProxy")
    parser.add_argument("--haproxy", default=shutil.which("haproxy"))
    options = parser.parse_args()
    if not options.haproxy:
        raise SystemExit("haproxy is not there: apt-get install haproxy")
    if 2 * options.clients / options.balancers > 0.9 * options.files:
        raise SystemExit(f"{options.clients} connections are too many for {options.balancers} processes of HAProxy")
    rise = options.clients // options.connect_rate + 1
    duration = rise + options.before + options.after
    bars = f"lost>0,twice>0,reordered>0,gaps>0,behind>0,stray>0,faults>0,not_recovered>0,away>0,ended>0,live<{options.clients}"
    balancers = []
    with tempfile.TemporaryDirectory() as folder, Stage(options.gateways) as stage, Feed(stage.nats, 100, options.rate):
        try:
            port, balancers = start_balancers(stage, options, folder)
            watch = [f"gateway-{at}={stage.pid(at)}" for at in range(options.gateways)]
            watch += [f"haproxy-{at}={process.pid}" for at, process in enumerate(balancers)]
            report = Path(folder, "report.json")
            swarm = subprocess.Popen([
                SWARM, "--url", f"ws://127.0.0.1:{port}/ws", "--clients", str(options.clients), "--processes",
                str(options.processes), "--ramp", f"{rise}s", "--duration", f"{duration}s", "--settle", "10s",
                "--tokens", "100", "--mode", "all", "--format", "mix", "--transport", options.transport, "--resume",
                "--report", report, "--watch", ",".join(watch), "--fail-on", bars, "--quiet",
            ])
            began = time.time()
            # Those who poll are no connections.
            wanted = options.clients - (options.clients // 20 if options.transport == "mix" else 0)
            is_full = wait_for("all clients", rise + options.before, lambda: sum(connections(stage)) >= wanted)
            time.sleep(max(0, began + rise + options.before - time.time()))
            before = connections(stage)
            killed_at = time.time()
            stage.order(f"{options.signal}_gateway", index=0)
            print(f"connections before: {before}; gateway-0 is gone", flush=True)
            swarm.wait()
            result = json.loads(report.read_text())
        finally:
            for process in balancers:
                process.terminate()
            for process in balancers:
                process.wait()
    run = result["curves"]["run"]
    ticks = [(at + 1) * run["bin_ms"] / 1000 + result["began_s"] for at in range(len(run["live"]))]
    after = [(tick - killed_at, live) for tick, live in zip(ticks, run["live"]) if tick > killed_at]
    fewest = min((live for _, live in after), default=0)
    lowest = next((at for at, (_, live) in enumerate(after) if live == fewest), 0)
    full = next((tick for tick, live in after[lowest:] if live >= options.clients), None)
    figures = result["figures"]
    print(f"\n{options.clients} clients, {options.gateways} gateways, {options.balancers} processes of HAProxy, "
          f"{options.processes} of odin-swarm, {options.rate} updates/s:")
    print(f"lost their connection: {figures['drops']:.0f}; fewest live at once: {fewest}; all live again "
          + ("never" if full is None else f"{full:.1f} s after the kill"))
    print("back after, from the loss of each one's own connection:")
    for at, count in enumerate(result["curves"]["back"]["clients"]):
        if count:
            print(f"  {at / 10:4.1f} s {count:6}")
    is_good = swarm.returncode == 0 and is_full and full is not None and figures["drops"] > 0
    print("kept in", keep(f"kill-{options.clients}{'' if options.signal == 'kill' else '-drain'}", {
        "program": "loadtest/kill.py", "options": vars(options), "connections_before": before,
        "all_live_after_s": full, "fewest_live": fewest, "is_good": is_good, "report": result,
    }))
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
