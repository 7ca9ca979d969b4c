#!/usr/bin/env python3
"""Gateways under clients that come and go, for a long time: does anything grow that should not?

    make soak                     30 minutes; SOAK_MINUTES=720 for half a day
    loadtest/soak/soak.py --minutes 3

Memory, open files, threads and connections of each gateway are noted every 5 s. It ends with 1 unless

- nothing was lost, repeated or reordered,
- the memory of the second half has no slope above the bar (least squares over RSS, --slope KiB a minute),
- and when all clients have left, open files, threads, connections, subscriptions, feeds and handshakes are what they
  were before the first one came, within --rest seconds.

Rings of recent publications are small in it (--ring), because those of the default size fill for minutes, and what fills
looks like what leaks.

What they were before is measured after a short warm-up of another few clients, because a process opens some things when
it first needs them.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from stage import SWARM, Feed, Stage, keep  # noqa: E402

# What has to be as before when everybody has left.
COUNTS = ["files", "threads", "odin_gateway_connections", "odin_gateway_subscriptions", "odin_gateway_shard_feeds",
          "odin_gateway_feeds", "odin_gateway_handshakes_pending", "odin_gateway_http_connections",
          "odin_gateway_http_questions_waiting", "odin_gateway_connections_behind", "odin_gateway_catch_up_bytes",
          "odin_gateway_shard_queue_bytes"]


def look(stage, at, pid, began):
    """One sample of a gateway."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    # The request for the metrics is a connection and a file of the admin listener, so files are counted before it.
    files = len(os.listdir(f"/proc/{pid}/fd"))
    metrics = stage.metrics(at)
    return {
        "at_s": round(time.monotonic() - began, 1),
        "rss_kib": int(status["VmRSS"].split()[0]),
        "pss_kib": int(next(line for line in rollup.splitlines() if line.startswith("Pss:")).split()[1]),
        "files": files,
        "threads": int(status["Threads"]),
        "ring_bytes": int(metrics.get("odin_gateway_ring_bytes", 0)),
        **{name: int(metrics.get(name, -1)) for name in COUNTS if name.startswith("odin_")},
    }


def slope(samples):
    """KiB a minute, by least squares over the second half."""
    half = samples[len(samples) // 2:]
    if len(half) < 3:
        return 0.0
    times = [sample["at_s"] / 60 for sample in half]
    sizes = [sample["rss_kib"] for sample in half]
    mean_time, mean_size = sum(times) / len(times), sum(sizes) / len(sizes)
    above = sum((x - mean_time) * (y - mean_size) for x, y in zip(times, sizes))
    return above / sum((x - mean_time) ** 2 for x in times)


def swarm(stage, seconds, report, options, *more):
    urls = ",".join(stage.url(at) for at in range(len(stage.gateways)))
    bars = "lost>0,twice>0,reordered>0,gaps>0,behind>0,stray>0,faults>0,not_recovered>0,away>0,ended>0,drops>0"
    return subprocess.Popen([
        SWARM, "--url", urls, "--duration", f"{seconds:.0f}s", "--settle", "10s", "--tokens", "100", "--per-client", "3",
        "--transport", "mix", "--format", "mix", "--mode", "mix", "--resume", "--report", report, "--fail-on", bars,
        "--quiet", *more,
    ], stdout=subprocess.PIPE, text=True)


def differences(before, now):
    return {name: (before[name], now[name]) for name in COUNTS if now[name] > before[name]}


def rest(stage, pids, began, options, before=None):
    """Waits until it is as before, or as long as is allowed; without a before, until it is the same for a while."""
    deadline = time.monotonic() + options.rest
    last, same = None, 0
    while True:
        now = [look(stage, at, pid, began) for at, pid in enumerate(pids)]
        if before and not any(differences(*pair) for pair in zip(before, now)):
            return now
        state = [[sample[name] for name in COUNTS] for sample in now]
        same = same + 1 if state == last else 0
        if time.monotonic() > deadline or (not before and same >= 3 and not any(s["odin_gateway_feeds"] for s in now)):
            return now
        last = state
        time.sleep(1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=float(os.environ.get("SOAK_MINUTES", 30)))
    parser.add_argument("--clients", type=int, default=int(os.environ.get("SOAK_CLIENTS", 2000)))
    parser.add_argument("--gateways", type=int, default=2)
    parser.add_argument("--rate", type=int, default=200, help="updates each second, of 100 channels")
    parser.add_argument("--churn", type=float, default=50, help="clients that come and go each second")
    parser.add_argument("--slow", type=float, default=1, help="percent of the clients that stop reading now and then")
    parser.add_argument("--slope", type=float, default=64, help="most KiB a minute by which memory may grow")
    parser.add_argument("--ring", default="32KiB", help="feeds.ring_bytes of the gateways")
    parser.add_argument("--rest", type=float, default=90, help="seconds for everything to be as before")
    parser.add_argument("--interval", type=float, default=5, help="seconds between two samples")
    options = parser.parse_args()
    began = time.monotonic()
    ring = ["--feeds-ring-bytes", options.ring]
    with tempfile.TemporaryDirectory() as folder, Stage(options.gateways, options=ring) as stage, \
            Feed(stage.nats, 100, options.rate):
        pids = [stage.pid(at) for at in range(options.gateways)]
        warm = swarm(stage, 8, Path(folder, "warm.json"), options, "--clients", "100", "--ramp", "1s", "--churn", "20")
        warm.communicate()
        before = rest(stage, pids, began, options)
        report = Path(folder, "report.json")
        started = time.monotonic()
        run = swarm(stage, options.minutes * 60, report, options, "--clients", str(options.clients), "--ramp", "10s",
                    "--churn", str(options.churn), "--slow", str(options.slow), "--slow-for", "5s", "--slow-every", "30s")
        samples = [[] for _ in pids]
        while run.poll() is None:
            elapsed = time.monotonic() - started
            for at, pid in enumerate(pids):
                samples[at].append(look(stage, at, pid, began))
            if int(elapsed / 60) > int((elapsed - options.interval) / 60):
                print(f"{elapsed / 60:5.1f} min " + "; ".join(
                    f"gateway-{at}: {s[-1]['rss_kib']} KiB, {s[-1]['files']} files, "
                    f"{s[-1]['odin_gateway_connections']} connections" for at, s in enumerate(samples)), flush=True)
            try:
                run.wait(options.interval)
            except subprocess.TimeoutExpired:
                pass
        table = run.stdout.read()
        if not report.is_file():
            raise SystemExit(f"odin-swarm ended with {run.returncode} and no report")
        figures = json.loads(report.read_text())
        after = rest(stage, pids, began, options, before)
    # The first half minute belongs to the ramp, the end to clients that leave.
    steady = [[s for s in own if 30 < s["at_s"] - own[0]["at_s"] < options.minutes * 60] for own in samples]
    print(table)
    print("| gateway | RSS before, middle, end, after, KiB | slope, KiB/min (bar "
          f"{options.slope:.0f}) | files before, most, after | threads | not as before |")
    print("|---|---|---|---|---|---|")
    is_good = run.returncode == 0
    result = []
    for at, own in enumerate(samples):
        steep, left = slope(steady[at]), differences(before[at], after[at])
        is_good = is_good and steep <= options.slope and not left
        print(f"| gateway-{at} | {before[at]['rss_kib']}, {own[len(own) // 2]['rss_kib']}, {own[-1]['rss_kib']}, "
              f"{after[at]['rss_kib']} | {steep:.1f} | {before[at]['files']}, {max(s['files'] for s in own)}, "
              f"{after[at]['files']} | {after[at]['threads']} | {left or 'none'} |")
        result.append({"slope_kib_per_min": round(steep, 2), "left": left, "before": before[at], "after": after[at],
                       "samples": own})
    # Curves of hours are in the samples; the swarm's own would only make the file large.
    figures.pop("curves")
    print("kept in", keep("soak", {"program": "loadtest/soak/soak.py", "options": vars(options), "is_good": is_good,
                                   "gateways": result, "report": figures}))
    print("nothing grew" if is_good else "FAILED")
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
