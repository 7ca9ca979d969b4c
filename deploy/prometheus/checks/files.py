"""What can be checked without running anything: rules, tests, runbooks, dashboards and the documentation fit
together.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PROMETHEUS = ROOT / "deploy/prometheus"
GRAFANA = ROOT / "deploy/grafana"
RUNBOOKS = ROOT / "docs/operations/runbooks"
SECTIONS = ["What it means", "What clients notice", "Look at", "Do", "Over when"]
LEAST_SCHEMA = 41  # of Grafana 12.0


def rule_blocks():
    """(name, text) of every alert of the rules."""
    for path in sorted((PROMETHEUS / "rules").glob("*.rules.yml")):
        for block in re.split(r"^      - ", path.read_text(), flags=re.M):
            name = re.match(r"alert: (\w+)", block)
            if name:
                yield name[1], block


def alerts():
    """Every alert of the rules with its severity."""
    severities = ((name, re.search(r"severity: (\w+)", block)) for name, block in rule_blocks())
    return {name: severity[1] if severity else None for name, severity in severities}


def documented_labels():
    """All metrics of docs/operations/metrics.md with the values of their labels: {metric: {label: {values}}}."""
    found = {}
    for line in (ROOT / "docs/operations/metrics.md").read_text().splitlines():
        row = re.match(r"\| `(odin_gateway_\w+)` \|", line)
        if row:
            labels = found.setdefault(row[1], {})
            for label, values in re.findall(r"`(\w+)`: ([^`|]+)", line.split("|")[4]):
                labels[label] = set(re.findall(r"\w+", values))
    return found


def runbook_queries():
    """(runbook, query) for each line of the promql blocks."""
    for path in sorted(RUNBOOKS.glob("*.md")):
        for block in re.findall(r"```promql\n(.*?)```", path.read_text(), flags=re.S):
            yield from ((path.stem, line) for line in block.splitlines() if line.strip())


def dashboards():
    return {path.stem: json.loads(path.read_text()) for path in sorted((GRAFANA / "dashboards").glob("*.json"))}


def dashboard_queries():
    """(dashboard, panel title, query) for each target, and for each variable that is a query."""
    for name, dashboard in dashboards().items():
        for panel in dashboard["panels"]:
            for target in panel.get("targets", []):
                yield name, panel["title"], target["expr"]
        for variable in dashboard["templating"]["list"]:
            if variable["type"] == "query":
                match = re.fullmatch(r"label_values\((.*), \w+\)", variable["query"]["query"])
                yield name, f"variable {variable['name']}", match[1] if match else variable["query"]["query"]


def check():
    """All findings, as sentences."""
    known = alerts()
    found = [*check_annotations(), *check_tests(known), *check_runbooks(known), *check_page(known)]
    for name, dashboard in dashboards().items():
        found += (f"dashboard {name}: {finding}" for finding in check_dashboard(name, dashboard, known))
    built = subprocess.run([sys.executable, GRAFANA / "build.py", "--check"], capture_output=True, text=True)
    if built.returncode != 0:
        found.append(built.stderr.strip() or "deploy/grafana/build.py failed")
    return found


def check_schema():
    """Findings of Grafana's own description of dashboards; None without Go."""
    go = shutil.which("go", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/go/bin"]))
    if go is None:
        return None
    paths = sorted((GRAFANA / "dashboards").glob("*.json"))
    ran = subprocess.run([go, "run", ".", *paths], cwd=GRAFANA / "schema", capture_output=True, text=True)
    return [] if ran.returncode == 0 else [f"dashboards: {ran.stdout}{ran.stderr}"]


def check_annotations():
    for name, block in rule_blocks():
        if f'}}}}docs/operations/runbooks/{name}.md"' not in block:
            yield f"alert {name} does not link its own runbook"
        if "summary:" not in block or "description:" not in block:
            yield f"alert {name} lacks a summary or a description"


def check_tests(known):
    fires, silent = set(), set()
    for path in (PROMETHEUS / "tests").glob("*.test.yml"):
        for case in path.read_text().split("\n  - interval:")[1:]:
            for name, answer in re.findall(r"alertname: (\w+)\n\s+exp_alerts:(.*)", case):
                (silent if "[]" in answer else fires).add(name)
    for name in sorted(known):
        if name not in fires:
            yield f"no test in which {name} fires"
        if name not in silent:
            yield f"no test in which {name} does not fire"


def check_runbooks(known):
    pages = {path.stem: path for path in RUNBOOKS.glob("*.md")}
    for name in sorted(known.keys() - pages.keys()):
        yield f"alert {name} has no runbook"
    for name in sorted(pages.keys() - known.keys()):
        yield f"runbook {name} has no alert"
    for name, path in sorted(pages.items()):
        text = path.read_text()
        if not text.startswith(f"# {name}\n") or re.findall(r"^## (.+)", text, flags=re.M) != SECTIONS:
            yield f"runbook {name}: its title or its sections are not {SECTIONS}"
        if f"Severity {known.get(name)}" not in text:
            yield f"runbook {name}: its severity is not that of the alert"
        yield from check_links(path, text)


def check_page(known):
    path = ROOT / "docs/operations/observability.md"
    text = path.read_text()
    rows = dict(re.findall(r"^\| \[(Odin\w+)\]\(runbooks/\1\.md\) \| (\w+) \|", text, flags=re.M))
    for name in sorted(known.keys() | rows.keys()):
        if known.get(name) != rows.get(name):
            yield f"observability.md says of {name}: {rows.get(name)}, the rules {known.get(name)}"
    yield from check_links(path, text)


def check_links(path, text):
    for link in re.findall(r"\]\(([^)#:]+\.\w+)(?:#[^)]*)?\)", text):
        if not (path.parent / link).exists():
            yield f"{path.name}: no such file: {link}"


def check_dashboard(name, dashboard, known):
    if dashboard["uid"] != f"odin-{name}" or dashboard["schemaVersion"] < LEAST_SCHEMA or not dashboard["description"]:
        yield "its uid, schemaVersion or description is not as it should be"
    variables = {variable["name"] for variable in dashboard["templating"]["list"]}
    if not {"datasource", "cluster", "instance"} <= variables:
        yield "it lacks one of the variables datasource, cluster, instance"
    ids, taken = set(), {}
    for panel in dashboard["panels"]:
        title, place = panel["title"], panel["gridPos"]
        if panel["id"] in ids:
            yield f"panel {title!r}: its id {panel['id']} is another's"
        ids.add(panel["id"])
        if place["x"] < 0 or place["x"] + place["w"] > 24 or min(place["w"], place["h"]) < 1:
            yield f"panel {title!r} does not fit into 24 columns"
        for cell in (
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        ):
            if cell in taken:
                yield f"panels {title!r} and {taken[cell]!r} overlap"
                break
            taken[cell] = title
        if panel["type"] == "row":
            continue
        if not panel["description"] or not panel["fieldConfig"]["defaults"].get("unit") or not panel["targets"]:
            yield f"panel {title!r} lacks a description, a unit or a query"
        if panel["datasource"]["uid"] != "${datasource}":
            yield f"panel {title!r} has a data source of its own"
        refs = [target["refId"] for target in panel["targets"]]
        if len(set(refs)) != len(refs):
            yield f"panel {title!r}: two queries have one name"
        for target in panel["targets"]:
            for used in re.findall(r"\$\{?(\w+)", target["expr"]):
                if used not in variables and used not in ("__rate_interval", "__range"):
                    yield f"panel {title!r}: no variable {used}"
        for link in panel.get("links", []):
            runbook = re.search(r"/runbooks/(\w+)\.md$", link["url"])
            if not runbook or runbook[1] not in known:
                yield f"panel {title!r}: its link leads to no runbook: {link['url']}"
