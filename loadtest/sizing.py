#!/usr/bin/env python3
"""Computes the plans of docs/operations/scale.md from the rules and prices below, and writes them into that page.

    loadtest/sizing.py                          print the tables
    loadtest/sizing.py --check                  exit code 1 if the page says something else
    loadtest/sizing.py --write                  put them into the page
    loadtest/sizing.py --clients 50000 --rate 2 --tls    a plan of your own

What was measured stands in MEASURED, once; what is a decision in PLAN; what somebody else sets in PRICES. There is
nothing about odin anywhere else in this file.
"""

import argparse
import math
import pathlib
import sys
import textwrap

PAGE = pathlib.Path(__file__).resolve().parents[1] / "docs/operations/scale.md"
BEGIN, END = "<!-- loadtest/sizing.py: begin -->\n", "<!-- loadtest/sizing.py: end -->\n"
SECONDS_OF_A_MONTH = 30 * 86400
HOURS_OF_A_MONTH = 30 * 24
GB, GIB = 1e9, 2**30

# docs/performance.md, and loadtest/geographic/cost.py for what NATS pays. Bytes, seconds.
MEASURED = {
    "connection_bytes": 450,  # idle and subscribed, plain: 434 to 447
    "connection_tls_bytes": 5_000,  # with TLS in the gateway
    "process_bytes": 64e6,  # gateway without clients and rings; 10,000 clients and all were 23 MB
    "feed_bytes": 20e3,  # a feed with its last values; rings are bounded apart
    "kernel_bytes": 6e3,  # socket and its kin, idle: 5.4 to 6.2 KB (loadtest/geographic/sockets.py)
    "delivery_cpu": 7e-6,  # one publication to one client in a write of its own; 2e-6 where several share a write
    "tls_delivery_factor": 1.5,  # encryption of one small record: an assumption
    "connect_cpu": 50e-6,  # accept and handshake, plain
    "update_bytes": 315,  # a price with its envelope, JSON
    "tcp_bytes": 66,  # Ethernet, IP and TCP for each segment
    "stored_bytes": 280,  # a price with its message id in the stream
    "nats_message_cpu": 15e-6,  # one stored and republished, with the first gateway: an upper figure of a shared core
    "nats_copy_cpu": 20e-6,  # one more copy to one more gateway, the same
}

# What we decide.
PLAN = {
    "core_share": 0.5,  # a core is half full at the peak: restarts and storms come on top
    "connections_per_gateway": 50_000,  # beyond that a lost gateway is felt
    "cores_per_gateway": 8,  # largest gateway
    "spare_gateways": 1,  # one may be lost or restarted at the peak
    "memory_share": 0.6,
    "ring_bytes": 256 * 2**20,  # feeds.ring_total_bytes
    "replicas": 3,
    "hours_kept": 1,
    "disk_share": 1 / 1.3,
    "nats_cores": 2,  # at least, for each of three servers
    "nats_memory_bytes": 4 * GIB,
    "balancer_core_connections": 50_000,  # TLS at a plain TCP balancer in front of them
    "balancer_connection_bytes": 40e3,
    "egress_peak": 3,  # the peak is so many times the mean of a month: paid is the mean
}

# Assumptions, in units of money. No provider's list: put in your own.
PRICES = {
    "vCPU-hour": 0.04,
    "GiB-hour": 0.005,
    "GB egress": 0.05,
    "GB between zones": 0.01,
    "GB-month of disk": 0.10,
}

# What is planned for: clients, channels each, updates a second of a channel at the peak, channels in all.
CASES = [
    ("10,000", {"clients": 10_000, "channels_each": 5, "rate": 1.0, "channels": 500, "tls": True}),
    ("100,000", {"clients": 100_000, "channels_each": 5, "rate": 1.0, "channels": 2_000, "tls": True}),
    ("1,000,000", {"clients": 1_000_000, "channels_each": 5, "rate": 1.0, "channels": 5_000, "tls": True}),
]


def plan(clients, channels_each, rate, channels, tls):
    """Everything about one case, in bytes, seconds and whole machines."""
    m, p = MEASURED, PLAN
    deliveries = clients * channels_each * rate
    stored = channels * rate
    cores = deliveries * m["delivery_cpu"] * (m["tls_delivery_factor"] if tls else 1) / p["core_share"]
    by_cores = cores / p["cores_per_gateway"]
    gateways = max(2, math.ceil(max(by_cores, clients / p["connections_per_gateway"]))) + p["spare_gateways"]
    cores_each = max(2, math.ceil(cores / (gateways - p["spare_gateways"])))
    each = clients / (gateways - p["spare_gateways"])
    user = (
        m["process_bytes"]
        + p["ring_bytes"]
        + each * (m["connection_tls_bytes"] if tls else m["connection_bytes"])
        + min(channels, each * channels_each) * m["feed_bytes"]
    )
    kernel = each * m["kernel_bytes"]
    memory_each = math.ceil((user + kernel) / p["memory_share"] / GIB)
    # The leader stores, and sends a copy to each gateway that wants it: with clients enough each wants every channel.
    nats_cpu = stored * (m["nats_message_cpu"] + gateways * m["nats_copy_cpu"])
    nats_cores = max(p["nats_cores"], math.ceil(nats_cpu / p["core_share"]))
    disk = stored * m["stored_bytes"] * 3600 * p["hours_kept"] / p["disk_share"] * p["replicas"]
    balancers = max(2, math.ceil(clients / p["balancer_core_connections"] / 8) + 1)
    balancer_cores = max(2, math.ceil(cores / 2 / (balancers - 1)))
    balancer_memory = max(
        2, math.ceil(clients / (balancers - 1) * p["balancer_connection_bytes"] / p["memory_share"] / GIB)
    )
    peak_bytes = deliveries * (m["update_bytes"] + m["tcp_bytes"])
    egress = peak_bytes * SECONDS_OF_A_MONTH / p["egress_peak"]
    inside = stored * (m["stored_bytes"] * (p["replicas"] - 1) + gateways * m["update_bytes"])
    between_zones = (peak_bytes + inside) * 2 / 3 * SECONDS_OF_A_MONTH / p["egress_peak"]
    vcpus = gateways * cores_each + 3 * nats_cores + balancers * balancer_cores
    memory = gateways * memory_each + 3 * p["nats_memory_bytes"] / GIB + balancers * balancer_memory
    cost = {
        "vCPU": vcpus * HOURS_OF_A_MONTH * PRICES["vCPU-hour"],
        "memory": memory * HOURS_OF_A_MONTH * PRICES["GiB-hour"],
        "disk": disk / GB * PRICES["GB-month of disk"],
        "between zones": between_zones / GB * PRICES["GB between zones"],
        "egress": egress / GB * PRICES["GB egress"],
    }
    return {
        "deliveries": deliveries,
        "stored": stored,
        "gateways": gateways,
        "cores_each": cores_each,
        "memory_each": memory_each,
        "connections_each": each,
        "user": user,
        "kernel": kernel,
        "nats_cores": nats_cores,
        "nats_out": stored * (gateways + 2),
        "disk": disk,
        "balancers": balancers,
        "balancer_cores": balancer_cores,
        "balancer_memory": balancer_memory,
        "peak_bits": peak_bytes * 8,
        "egress": egress,
        "between_zones": between_zones,
        "vcpus": vcpus,
        "memory": memory,
        "cost": cost,
        "files": math.ceil(each * 1.1 / 1000) * 1000 + 2000,
    }


def number(value):
    return f"{value:,.0f}"


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def tables(cases):
    plans = [plan(**case) for _, case in cases]
    names = [name for name, _ in cases]

    def row(name, show):
        return [name, *(show(case, found) for (_, case), found in zip(cases, plans))]

    sizes = [
        row(
            "channels of each client × updates a second, at the peak",
            lambda c, _: f"{c['channels_each']} × {c['rate']:g}",
        ),
        row("channels in all", lambda c, _: number(c["channels"])),
        row("stored a second", lambda _, f: number(f["stored"])),
        row("deliveries a second", lambda _, f: number(f["deliveries"])),
        row("gateways, one of them to spare", lambda _, f: number(f["gateways"])),
        row("… cores each", lambda _, f: number(f["cores_each"])),
        row("… memory each", lambda _, f: f"{f['memory_each']} GiB"),
        row("… connections each when one is away", lambda _, f: number(f["connections_each"])),
        row(
            "… of their memory: process, and kernel",
            lambda _, f: f"{number(f['user'] / 1e6)} MB, {number(f['kernel'] / 1e6)} MB",
        ),
        row("… `limits.connections`, open files", lambda _, f: f"{number(f['files'] - 2000)}, {number(f['files'])}"),
        row("NATS servers × cores, 4 GiB each", lambda _, f: f"3 × {f['nats_cores']}"),
        row("… messages out a second, all", lambda _, f: number(f["nats_out"])),
        row("… disk, all replicas", lambda _, f: f"{f['disk'] / GB:,.1f} GB"),
        row(
            "balancers × cores, memory",
            lambda _, f: f"{f['balancers']} × {f['balancer_cores']}, {f['balancer_memory']} GiB",
        ),
        row("to the internet at the peak", lambda _, f: f"{f['peak_bits'] / 1e9:,.2f} Gbit/s"),
        row("… in a month", lambda _, f: f"{f['egress'] / 1e12:,.1f} TB"),
        row("between zones in a month", lambda _, f: f"{f['between_zones'] / 1e12:,.1f} TB"),
    ]
    kinds = list(plans[0]["cost"])
    costs = [[kind, *(number(found["cost"][kind]) for found in plans)] for kind in kinds]
    costs.append(["**all**", *(f"**{number(sum(found['cost'].values()))}**" for found in plans)])
    costs.append(
        ["for each client", *(f"{sum(f['cost'].values()) / c['clients']:.3f}" for (_, c), f in zip(cases, plans))]
    )
    costs.append(["of which egress", *(f"{f['cost']['egress'] / sum(f['cost'].values()) * 100:.0f} %" for f in plans)])
    prices = ", ".join(f"{value:g} for a {name}" for name, value in PRICES.items())
    return (
        table(["clients", *names], sizes)
        + "\n"
        + textwrap.fill(f"In a month, in units of money, at {prices}:", 120)
        + "\n\n"
        + table(["clients", *names], costs)
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--clients", type=int)
    parser.add_argument("--channels-each", type=int, default=5)
    parser.add_argument("--rate", type=float, default=1.0)
    parser.add_argument("--channels", type=int, default=1000)
    parser.add_argument("--tls", action="store_true")
    args = parser.parse_args()
    if args.clients:
        case = {
            "clients": args.clients,
            "channels_each": args.channels_each,
            "rate": args.rate,
            "channels": args.channels,
            "tls": args.tls,
        }
        return print(tables([(number(args.clients), case)]), end="")
    text = tables(CASES)
    if not (args.check or args.write):
        return print(text, end="")
    page = PAGE.read_text()
    before, rest = page.split(BEGIN)
    written, after = rest.split(END)
    if args.write:
        PAGE.write_text(before + BEGIN + text + END + after)
    elif written != text:
        sys.exit(f"{PAGE.name} does not say what loadtest/sizing.py computes: run it with --write")


main()
