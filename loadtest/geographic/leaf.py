#!/usr/bin/env python3
"""A region on a leaf node: without JetStream, and with a mirror of the stream in a JetStream domain of its own. See
docs/operations/geographic.md.

    loadtest/geographic/leaf.py [--delay 0.04] [--seconds 20]
"""

import argparse
import asyncio

from lab import Lab
from speakers import Client, Nats, Publisher
from waiting import free_port, milliseconds, say, until
from wire import Wire

REPUBLISH = {"src": "odin.>", "dest": "live.odin.>"}


def leaf(lab, name, wire, domain=None, deny=()):
    denied = ", ".join(f'"{subject}"' for subject in deny)
    remote = f'{{ url: "nats-leaf://127.0.0.1:{wire.port}", deny_imports: [{denied}] }}'
    # Without JetStream of its own, whoever asks for it means the hub's.
    jetstream = lab.jetstream(name, f", domain: {domain}") if domain else 'default_js_domain: { "$G": "hub" }\n'
    return lab.server(name, jetstream + f"leafnodes {{ reconnect: 1s, remotes: [{remote}] }}\n")


async def mirror(server, hub, stream, **more):
    """A mirror in the leaf's domain, of the same name as in the hub's."""
    nats = await Nats().connect(server.port)
    external = {"api": "$JS.hub.API"}
    config = {
        "name": stream,
        "storage": "file",
        "num_replicas": 1,
        "mirror": {"name": stream, "external": external},
        **more,
    }
    answer = await nats.api(f"STREAM.CREATE.{stream}", config)
    if "error" in answer:
        say(f"  mirror of {stream}: refused: {answer['error']['description']}")
    nats.close()
    return "error" not in answer


async def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--delay", type=float, default=0.04, help="seconds each way between hub and leaf")
    parser.add_argument(
        "--cut", action="store_true", help="the links are reset and refused instead of swallowing everything"
    )
    parser.add_argument("--seconds", type=float, default=20, help="how long the link is down")
    args = parser.parse_args()
    with Lab() as lab:
        port = free_port()
        hub = lab.server(
            "hub",
            lab.jetstream("hub", ", domain: hub") + f'leafnodes {{ listen: "127.0.0.1:{port}", no_advertise: true }}\n',
        )
        wires = {name: Wire(port, args.delay) for name in ("plain", "mirror")}
        plain = leaf(lab, "plain", wires["plain"])
        # What the hub republishes must not come beside what the mirror does.
        copy = leaf(lab, "copy", wires["mirror"], "copy", ["live.>"])
        await until("two leaves", lambda: hub.varz("leafz")["leafnodes"] == 2)
        await lab.provisioned(hub.url, 1)
        marker = (await lab.stream(hub.port))["config"]["metadata"]["odin_epoch"]

        say("1. what a mirror may be")
        made = await mirror(
            copy,
            hub,
            "ODIN",
            allow_direct=True,
            mirror_direct=True,
            republish=REPUBLISH,
            allow_msg_ttl=True,
            metadata={"odin_epoch": marker},
        )
        say(f"  mirror of ODIN with republish, Direct Get and the origin's odin_epoch: {'made' if made else 'refused'}")
        await mirror(
            copy,
            hub,
            "ODIN_CTL",
            allow_direct=True,
            max_msgs_per_subject=1,
            allow_msg_ttl=True,
            republish={"src": "odinctl.>", "dest": "live.odinctl.>"},
        )
        await mirror(
            copy,
            hub,
            "ODIN_LAST",
            allow_direct=True,
            max_msgs_per_subject=1,
            allow_msg_ttl=True,
            republish={"src": "odinlast.>", "dest": "live.odinlast.>"},
        )
        code, text = lab.provision(copy.url, 1, fails=True)
        say(f"  ws-gateway provision there: exit code {code}")
        say("".join(f"    {line}\n" for line in text.splitlines()).rstrip())

        gateways = {
            "hub": lab.gateway("at-hub", [hub.url]),
            "plain": lab.gateway("at-plain", [plain.url]),
            "copy": lab.gateway("at-copy", [copy.url]),
        }
        for name, gateway in gateways.items():
            try:
                say(f"  gateway at {name}: ready after {await gateway.ready(15):.1f} s")
            except TimeoutError:
                say(f"  gateway at {name}: {gateway.readyz()}")
        publisher = await Publisher(hub.port).start()
        clients = {}
        for name, gateway in gateways.items():
            try:
                clients[name] = await asyncio.wait_for(Client(name, gateway).start(), 20)
            except (TimeoutError, asyncio.TimeoutError):
                say(f"  no subscription at {name}")
        await asyncio.sleep(6)
        say("\n2. deliveries, published at the hub")
        for name, client in clients.items():
            say(
                f"  {name}: {milliseconds(client.ms)}; subscribed after {client.joined * 1000:.0f} ms; epoch {client.epoch}"
            )
        stored = {name: (await lab.stream(server.port))["state"] for name, server in (("hub", hub), ("copy", copy))}
        say(
            "  sequences: "
            + ", ".join(f"{name} {state['first_seq']} to {state['last_seq']}" for name, state in stored.items())
        )

        say("\n3. resume across regions")
        walker = await Client("walker", gateways["hub"]).start()
        for name in ("plain", "hub", "copy", "hub"):
            await asyncio.sleep(1.5)
            walker.move(gateways[name])
            await until("answers", lambda: len(walker.answers) == 4)
            reasons = sorted({reason for _, recovered, reason in walker.answers if not recovered})
            say(
                f"  to {name}: recovered {sum(recovered for _, recovered, _ in walker.answers)} of 4 {' '.join(reasons)}"
            )

        say(f"\n4. both links {'are cut' if args.cut else 'swallow everything'} for {args.seconds:.0f} s")
        for wire in wires.values():
            (wire.cut if args.cut else wire.hole)(True)
        await asyncio.sleep(args.seconds)
        say("  readyz: " + ", ".join(f"{name} {gateway.readyz()}" for name, gateway in gateways.items()))
        strangers = {name: Client(f"stranger at {name}", gateways[name]) for name in ("plain", "copy")}
        waiting = [asyncio.create_task(stranger.start()) for stranger in strangers.values()]
        await asyncio.sleep(4)
        for name, stranger in strangers.items():
            say(
                f"  subscribing at {name} meanwhile: {'answered' if len(stranger.answers) == 4 else 'waits'}, told {stranger.told}"
            )
        for wire in wires.values():
            (wire.cut if args.cut else wire.hole)(False)
        for name, gateway in gateways.items():
            say(f"  healed: {name} ready after {await gateway.ready(60):.1f} s")
        await asyncio.wait_for(asyncio.gather(*waiting), 60)
        await asyncio.sleep(4)
        await publisher.stop()
        everybody = [*clients.values(), *strangers.values(), walker]
        for client in everybody:
            if await client.caught_up(publisher) is None:
                say(f"  {client.name} is NOT at the newest values")
            say(f"  {client.name}: {client.proof(publisher)}; told {client.told}")
        say(f"  {publisher.stored()} stored")
        for client in everybody:
            await client.stop()


asyncio.run(main())
