#!/usr/bin/env python3
"""Builds dashboards/*.json. With --check it only says whether they are what it would build, by its exit code."""

import json
import pathlib
import sys

import clients
import cluster
import gateway
import nats
from panels import dashboard

HERE = pathlib.Path(__file__).resolve().parent
DASHBOARDS = [cluster, gateway, nats, clients]


def write(built):
    """JSON with a line for each panel: one that changes is one line in a diff."""
    lines = ",\n".join("    " + json.dumps(panel, ensure_ascii=False) for panel in built["panels"])
    text = json.dumps({**built, "panels": "PANELS"}, indent=2, ensure_ascii=False)
    return text.replace('"PANELS"', f"[\n{lines}\n  ]") + "\n"


def main():
    links = [(f"odin-{d.NAME}", d.TITLE) for d in DASHBOARDS]
    differ = []
    for source in DASHBOARDS:
        built = dashboard(f"odin-{source.NAME}", source.TITLE, source.DESCRIPTION, source.ROWS, links)
        text = write(built)
        path = HERE / "dashboards" / f"{source.NAME}.json"
        if "--check" in sys.argv[1:]:
            if not path.exists() or path.read_text() != text:
                differ.append(path.name)
        else:
            path.write_text(text)
    if differ:
        sys.exit(f"not what deploy/grafana/build.py builds: {', '.join(differ)}")


if __name__ == "__main__":
    main()
