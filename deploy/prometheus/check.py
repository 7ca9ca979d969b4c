#!/usr/bin/env python3
"""Proves that rules, alerts, runbooks and dashboards fit what odin really says of itself.

First the files by themselves and with promtool; then a small odin is started with Prometheus beside it, and every
expression is evaluated there. It ends by itself and leaves nothing behind. Exit code 1: there are findings.

    make observability
"""

import argparse
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from checks import files, live, stack  # noqa: E402


def promtool():
    """Findings of promtool on configurations, rules, and the tests of rules."""
    program, found = stack.needed("promtool"), []
    for arguments in (
        ["check", "config", *sorted(files.PROMETHEUS.glob("prometheus*.yml"))],
        ["check", "rules", *sorted(files.PROMETHEUS.glob("rules/*.yml"))],
        ["test", "rules", *sorted(files.PROMETHEUS.glob("tests/*.yml"))],
    ):
        # One configuration for each call, that is how promtool wants it.
        calls = [[*arguments[:2], path] for path in arguments[2:]] if arguments[1] == "config" else [arguments]
        for call in calls:
            ran = subprocess.run([program, *map(str, call)], capture_output=True, text=True)
            if ran.returncode != 0:
                found.append(f"promtool {arguments[0]} {arguments[1]}: {ran.stdout}{ran.stderr}")
    return found


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument(
        "--programs",
        default=str(files.ROOT / "target/release"),
        help="folder of ws-gateway, odin, odin-publisher, odin-devkit",
    )
    arguments.add_argument(
        "--old-gateway", action="store_true", help="metrics that the gateway lacks are listed, and are no findings"
    )
    arguments.add_argument("--files-only", action="store_true", help="start nothing")
    options = arguments.parse_args()
    # As with Ctrl-C: what was started is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began, findings, notes = time.monotonic(), files.check(), []
    counts = f"{len(files.alerts())} alerts with tests and runbooks, {len(files.dashboards())} dashboards"
    print(f"{counts}: {len(findings)} findings")
    schema = files.check_schema()
    findings += schema or []
    print(
        "no Go: dashboards are not read by Grafana's schema"
        if schema is None
        else f"Grafana's schema: {len(schema)} findings"
    )
    try:
        unsound = promtool()
        findings += unsound
        print(f"promtool: {len(unsound)} findings")
        if not options.files_only:
            with stack.Stack(options.programs) as running:
                look = live.Live(running, options.old_gateway)
                print(f"the stack stands after {time.monotonic() - began:.0f} s")
                look.wait()
                print(f"everything is scraped after {time.monotonic() - began:.0f} s")
                queries = look.look()
                look.report()
                running.all_live()
                findings += look.findings
                notes = look.notes
                exporter = (
                    "prometheus-nats-exporter" if running.has_real_exporter else "a stand-in of the NATS exporter"
                )
                print(f"{queries} expressions evaluated on a real odin, with {exporter}: {len(look.findings)} findings")
    except stack.StackError as error:
        findings.append(str(error))
    for note in notes:
        print(f"note: {note}")
    for finding in findings:
        print(f"finding: {finding}")
    print(f"{time.monotonic() - began:.0f} s")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
