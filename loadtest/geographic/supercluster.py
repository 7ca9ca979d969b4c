#!/usr/bin/env python3
"""Two NATS clusters with gateways between them: the stream is in A, gateways and clients are in both. See
docs/operations/geographic.md.

    loadtest/geographic/supercluster.py [--delay 0.04] [--seconds 20]
"""

import argparse
import asyncio
import collections

from lab import Lab
from speakers import Client, Nats, Publisher
from waiting import free_port, milliseconds, say, until
from wire import Wire


def regions(lab, delay):
    """Three servers in A, three in B; every byte between A and B goes through one of six wires."""
    ports = {f"{region}{index}": free_port() for region in "ab" for index in range(3)}
    wires = {name: Wire(port, delay) for name, port in ports.items()}

    def gateway(name):
        own = name[0]
        remote = {"a": "b", "b": "a"}[own]
        urls = lambda region: ", ".join(f'"nats://127.0.0.1:{wires[f"{region}{index}"].port}"' for index in range(3))
        return (
            f'gateway {{ name: {own.upper()}, listen: "127.0.0.1:{ports[name]}", advertise: "127.0.0.1:{wires[name].port}"\n'
            f"  gateways: [{{ name: {remote.upper()}, urls: [{urls(remote)}] }}] }}\n"
        )

    a, _ = lab.cluster("A", 3, gateway)
    b, _ = lab.cluster("B", 3, gateway)
    return a, b, list(wires.values())


heard = collections.Counter()


async def leader_says(port, seq):
    """What B is told of the stream, and of a message that is stored, ten times a second."""
    nats = await Nats().connect(port)
    while True:
        for what, ask, good in (("STREAM.MSG.GET.ODIN", {"seq": seq}, "message"), ("STREAM.INFO.ODIN", None, "state")):
            try:
                answer = await nats.api(what, ask, seconds=2)
                told = good if good in answer else f"error {answer['error'].get('err_code')}"
            except asyncio.TimeoutError:
                told = "no answer"
            heard[f"{what}: {told}"] += 1
        await asyncio.sleep(0.1)


async def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--delay", type=float, default=0.04, help="seconds each way between the regions")
    parser.add_argument("--mirror", action="store_true", help="a mirror of the stream in B answers reads there")
    parser.add_argument(
        "--cut", action="store_true", help="the link is reset and refused instead of swallowing everything"
    )
    parser.add_argument("--seconds", type=float, default=20, help="how long the link is down")
    args = parser.parse_args()
    with Lab() as lab:
        a, b, link = regions(lab, args.delay)
        await until("A and B know each other", lambda: all(s.varz("gatewayz")["outbound_gateways"] for s in a + b))
        await lab.provisioned(a[0].url, 3)
        placed = await lab.stream(a[0].port)
        say(
            f"stream ODIN is in cluster {placed['cluster']['name']}, {len(placed['cluster']['replicas']) + 1} replicas; "
            f"{args.delay * 1000:.0f} ms each way between A and B"
        )
        if args.mirror:
            nats = await Nats().connect(b[0].port)
            mirror = {
                "name": "ODIN_B",
                "mirror": {"name": "ODIN"},
                "storage": "file",
                "num_replicas": 3,
                "allow_direct": True,
                "mirror_direct": True,
                "placement": {"cluster": "B"},
            }
            made = await nats.api("STREAM.CREATE.ODIN_B", mirror)
            say(f"mirror ODIN_B in cluster {made['cluster']['name']}")
        near = lab.gateway("near", [s.url for s in a])
        far = lab.gateway("far", [s.url for s in b])
        say(f"ready: near after {await near.ready():.1f} s, far after {await far.ready():.1f} s")
        publisher = await Publisher(a[0].port).start()
        clients = [await Client("near", near).start(), await Client("far", far).start()]
        await asyncio.sleep(8)
        for client in clients:
            say(f"{client.name}: deliveries {milliseconds(client.ms)}")
        say("\nresume across regions")
        walker = await Client("walker", near).start()
        for gateway in (far, near) * 4:
            await asyncio.sleep(1.5)
            walker.move(gateway)
            await until("answers", lambda: len(walker.answers) == 4)
            say(f"  to {gateway.name}: recovered {sum(recovered for _, recovered, _ in walker.answers)} of 4")

        say("\nmany joins on the far gateway while 40 msg/s are published")
        joins = []
        for _ in range(15):
            joins += await asyncio.gather(*(Client("join", far, resumes=False).start() for _ in range(2)))
            await asyncio.sleep(0.1)
        say(f"  subscribed to 4 channels after {milliseconds([client.joined * 1000 for client in joins])}")
        if args.mirror:
            info = await nats.api("STREAM.INFO.ODIN_B")
            say(f"  the mirror is {info['mirror']['lag']} messages behind")

        say(
            f"\nthe link {'is cut' if args.cut else 'swallows everything'} for {args.seconds:.0f} s (both regions stay up)"
        )
        before = far.metric("chain_gaps_total", "filled_messages_total", "audit_repairs_total")
        for wire in link:
            (wire.cut if args.cut else wire.hole)(True)
        for seconds in (5, args.seconds - 5):
            await asyncio.sleep(seconds)
            say(f"  readyz after {seconds:.0f} s more: near {near.readyz()}, far {far.readyz()}")
        stranger = Client("stranger", far)
        waiting = asyncio.create_task(stranger.start())
        code, text = lab.nats(
            a[0].url,
            "--timeout",
            "4s",
            "stream",
            "add",
            "PROBE",
            "--subjects",
            "probe",
            "--defaults",
            "--cluster",
            "A",
            fails=True,
        )
        say(f"  a new stream in A meanwhile: {'made' if code == 0 else text.strip().splitlines()[-1]}")
        stored = publisher.stored()
        await asyncio.sleep(2)
        say(
            f"  publishers in A meanwhile: {publisher.stored() - stored} stored in 2 s, longest wait {publisher.longest:.1f} s"
        )
        for wire in link:
            (wire.cut if args.cut else wire.hole)(False)
        asking = asyncio.create_task(leader_says(b[0].port, 1))
        say(f"  healed: far is ready after {await far.ready():.1f} s")
        await until("far is live", lambda: clients[1].told and clients[1].told[-1][1] == "live", 60)
        await asyncio.wait_for(waiting, 30)
        asking.cancel()
        say(f"  asked in B from then on: {dict(heard)}")
        await asyncio.sleep(3)
        await publisher.stop()
        for client in clients + [walker, stranger] + joins:
            if await client.caught_up(publisher) is None:
                say(f"{client.name} is NOT at the newest values")
        after = far.metric(
            "chain_gaps_total", "filled_messages_total", "audit_repairs_total", "feed_open_retries_total"
        )
        say(f"  far: told {clients[1].told}")
        say(f"  near: told {clients[0].told}")
        say(f"  far before the cut {before}, after {after}")
        for line in far.lines("WARN"):
            say(f"  far's log: {line.split(maxsplit=1)[1].strip()}")
        say(f"\n{publisher.stored()} stored; A publish: {milliseconds(publisher.ack_ms)}")
        for client in clients + [walker, stranger]:
            say(f"{client.name}: {client.proof(publisher)}")
        say(
            f"{len(joins)} joins: missing {sum(client.missing(publisher) for client in joins)}, "
            f"twice {sum(c.twice for c in joins)}, reordered {sum(c.reordered for c in joins)}"
        )
        say(f"bytes over the link: {sum(wire.bytes for wire in link)}")
        for client in clients + [walker, stranger] + joins:
            await client.stop()


asyncio.run(main())
