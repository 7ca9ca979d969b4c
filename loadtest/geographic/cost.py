#!/usr/bin/env python3
"""What gateways cost their nats-server: messages, subscriptions and processor time with 0, 1, 2, 4 and 8 of them.

    loadtest/geographic/cost.py [--rate 500] [--seconds 8]

First idle, without any client; then with one client of `price:*` at each, so that every gateway wants every price.
Processor time is told as parts of what the server uses with one gateway, for absolute figures belong to the machine.
"""

import argparse
import asyncio
import subprocess

from lab import PROGRAMS, Lab
from waiting import say, until


def counters(server):
    varz = server.varz()
    return {
        "in": varz["in_msgs"],
        "out": varz["out_msgs"],
        "out bytes": varz["out_bytes"],
        "cpu": server.cpu_seconds(),
        "subscriptions": varz["subscriptions"],
        "connections": varz["connections"],
    }


async def measure(server, gateways, seconds):
    before, used = counters(server), [gateway.cpu_seconds() for gateway in gateways]
    await asyncio.sleep(seconds)
    after = counters(server)
    rates = {name: (after[name] - before[name]) / seconds for name in ("in", "out", "out bytes", "cpu")}
    own = sum(gateway.cpu_seconds() - was for gateway, was in zip(gateways, used)) / max(1, len(gateways)) / seconds
    return {**rates, "subscriptions": after["subscriptions"], "connections": after["connections"], "gateway cpu": own}


def row(count, found, one):
    say(
        f"| {count} | {found['connections']} | {found['subscriptions']} | {found['in']:.0f} | {found['out']:.0f} | "
        f"{found['out bytes'] / 1000:.0f} kB | {found['cpu'] * 1000:.0f} ms | {found['cpu'] / one:.1f} | {found['gateway cpu'] * 1000:.0f} ms |"
    )


async def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=500, help="prices a second")
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--tokens", type=int, default=50)
    args = parser.parse_args()
    with Lab() as lab:
        server = lab.server("nats")
        await until("nats", lambda: server.varz("healthz")["status"] == "ok")
        lab.provision(server.url)
        for is_busy in (False, True):
            if is_busy:
                publisher = subprocess.Popen(
                    [
                        str(PROGRAMS / "odin-publisher"),
                        "simulate",
                        "--nats-url",
                        server.url,
                        "--kinds",
                        "price",
                        "--tokens",
                        str(args.tokens),
                        "--rate",
                        str(args.rate),
                    ],
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
                lab.processes.append(publisher)
            say(
                f"\n{args.rate} prices a second of {args.tokens} tokens, a client of price:* at each gateway"
                if is_busy
                else "idle: no publisher, no client"
            )
            say(
                "| gateways | connections | subscriptions | in/s | out/s | out bytes/s | nats cpu/s | beside one gateway | cpu/s of a gateway |"
            )
            say("|---|---|---|---|---|---|---|---|---|")
            gateways, started, one = [], [], None
            for count in (0, 1, 2, 4, 8):
                while len(gateways) < count:
                    gateway = lab.gateway(f"gateway-{is_busy}-{len(gateways)}", [server.url])
                    await gateway.ready()
                    gateways.append(gateway)
                    if is_busy:
                        tail = subprocess.Popen(
                            [str(PROGRAMS / "odin"), "tail", "--url", f"ws://127.0.0.1:{gateway.port}/ws", "price:*"],
                            stdin=subprocess.DEVNULL,
                            stdout=subprocess.DEVNULL,
                            stderr=subprocess.DEVNULL,
                        )
                        lab.processes.append(tail)
                        started.append(tail)
                await asyncio.sleep(3)
                found = await measure(server, gateways, args.seconds)
                if count == 1:
                    one = found["cpu"]
                row(count, found, one or 1)
            if is_busy:
                direct = [gateway.metric("direct_gets_total", "audits_total", "barriers_total") for gateway in gateways]
                say(f"the first gateway since it began: {direct[0]}")
            for process in [gateway.process for gateway in gateways] + started:
                process.kill()
                process.wait()


asyncio.run(main())
