#!/usr/bin/env python3
"""One NATS cluster over three zones with a delay between each two, three replicas; a gateway and a client in each zone.
See docs/operations/geographic.md.

    loadtest/geographic/stretched.py [--delay 0.01]
"""

import argparse
import asyncio

from lab import Lab
from speakers import Client, Publisher
from waiting import milliseconds, say, until


async def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--delay", type=float, default=0.01, help="seconds each way between two zones")
    args = parser.parse_args()
    with Lab() as lab:
        zones, wires = lab.cluster("Z", 3, delay=args.delay)
        by_name = {zone.name: zone for zone in zones}
        took = await lab.provisioned(zones[0].url, 3)
        gateways = [lab.gateway(f"in-{zone.name}", [zone.url]) for zone in zones]
        for gateway in gateways:
            await gateway.ready(60)
        leader = by_name[(await lab.stream(zones[0].port))["cluster"]["leader"]]
        home = zones.index(leader)
        say(f"{args.delay * 1000:.0f} ms each way; streams after {took:.1f} s; the leader is in zone {leader.name}")
        publishers = {
            "beside the leader": await Publisher(leader.port, ("AAA", "BBB")).start(),
            "in another zone": await Publisher(zones[home - 1].port, ("CCC", "DDD")).start(),
        }
        clients = [await Client(gateway.name, gateway).start() for gateway in gateways]
        await asyncio.sleep(8)
        say("\n1. in order")
        for where, publisher in publishers.items():
            say(f"  publish {where}: {milliseconds(publisher.ack_ms)}")
        for client in clients:
            say(
                f"  deliveries {client.name}{' (leader)' if client.gateway is gateways[home] else ''}: {milliseconds(client.ms)}; "
                f"subscribed after {client.joined * 1000:.0f} ms"
            )

        async def fault(title, begin, end, seconds):
            for publisher in publishers.values():
                publisher.longest = 0
            marks = [len(client.told) for client in clients]
            begin()
            await asyncio.sleep(seconds)
            say(f"\n{title}")
            say("  readyz: " + ", ".join(f"{gateway.name} {gateway.readyz()}" for gateway in gateways))
            end()
            for gateway in gateways:
                await gateway.ready(60)
            await asyncio.sleep(5)
            say(
                "  longest publish: "
                + ", ".join(f"{where} {publisher.longest:.1f} s" for where, publisher in publishers.items())
            )
            for client, mark in zip(clients, marks):
                say(f"  {client.name}: told {client.told[mark:]}")

        apart = [wire for pair, wire in wires.items() if leader.name in pair]
        await fault(
            f"2. zone {leader.name} (leader) is cut off from the others for 15 s, its gateway and publisher with it",
            lambda: [wire.hole(True) for wire in apart],
            lambda: [wire.hole(False) for wire in apart],
            15,
        )
        leader = by_name[(await lab.stream(zones[0].port))["cluster"]["leader"]]
        say(f"  the leader is in zone {leader.name} now")
        other = next(zone for zone in zones if zone is not leader)
        lost = [other, leader]
        await fault(f"3. zone {leader.name} (leader) loses its NATS server for 12 s", leader.kill, leader.launch, 12)
        await until("a leader", lambda: has_leader(lab, other))
        await fault(
            "4. two of three zones lose their NATS servers for 15 s",
            lambda: [zone.kill() for zone in lost],
            lambda: [zone.launch() for zone in lost],
            15,
        )
        for publisher in publishers.values():
            await publisher.stop()
        everything = Publisher(0, ())
        for publisher in publishers.values():
            everything.acked.update(publisher.acked)
        say(f"\n{everything.stored()} stored")
        for client in clients:
            if await client.caught_up(everything) is None:
                say(f"  {client.name} is NOT at the newest values")
            say(f"  {client.name}: {client.proof(everything)}, epochs {len(client.epochs)}")
            await client.stop()


async def has_leader(lab, zone):
    return (await lab.stream(zone.port)).get("cluster", {}).get("leader")


asyncio.run(main())
