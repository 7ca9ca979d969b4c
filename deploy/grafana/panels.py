"""How a panel of odin's dashboards is written down, and what Grafana wants to read for it.

A dashboard is a list of rows, a row a title and its panels. In queries `{C}` stands for the chosen clusters and `{I}`
for the chosen gateways of them, also before more matchers: `{C,reason="drain"}`. Panels flow from left to right;
nobody counts columns. Refuses a panel without description, unit or query.
"""

from dataclasses import dataclass, field

WIDTH = 24
CLUSTER = 'cluster=~"$cluster"'
INSTANCE = CLUSTER + ',instance=~"$instance"'
# Where this repository can be read, with a slash at the end. A site puts its own here; dashboards have it as a hidden
# variable.
RUNBOOKS_AT = "https://git.example/odin/blob/main/"
RUNBOOKS = "${runbooks}docs/operations/runbooks/"
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}


def fill(query):
    """`{C…}` and `{I…}` become label matchers."""
    for mark, matchers in (("C", CLUSTER), ("I", INSTANCE)):
        query = query.replace("{%s}" % mark, "{%s}" % matchers).replace("{%s," % mark, "{%s," % matchers)
    return query


@dataclass
class Panel:
    """One panel: title, description, unit of its values, and queries as (query, legend)."""

    title: str
    description: str
    unit: str
    queries: list
    kind: str = "timeseries"
    width: int = 8
    # (value, colour) steps above the first, which is green.
    steps: list = field(default_factory=list)
    # Alerts whose runbooks belong to it.
    runbooks: list = field(default_factory=list)
    stacked: bool = False
    # Largest value of the axis, where it is known: 1 for a share.
    most: float | None = None
    # Names for values: {0: "no", 1: "yes"}.
    names: dict = field(default_factory=dict)

    @property
    def height(self):
        return 4 if self.kind == "stat" else 8

    def build(self, number, x, y):
        if not (self.description and self.unit and self.queries):
            raise ValueError(f"panel {self.title!r} lacks a description, a unit or a query")
        defaults = {
            "unit": self.unit,
            "min": 0,
            "color": {"mode": "thresholds" if self.kind == "stat" else "palette-classic"},
            "thresholds": {
                "mode": "absolute",
                "steps": [{"color": "green", "value": None}]
                + [{"color": colour, "value": value} for value, colour in self.steps],
            },
        }
        if self.most is not None:
            defaults["max"] = self.most
        if self.names:
            options = {str(value): {"text": text, "index": i} for i, (value, text) in enumerate(self.names.items())}
            defaults["mappings"] = [{"type": "value", "options": options}]
        if self.kind == "timeseries":
            defaults["custom"] = {
                "drawStyle": "line",
                "lineWidth": 1,
                "fillOpacity": 20 if self.stacked else 8,
                "showPoints": "never",
                "spanNulls": False,
                "stacking": {"mode": "normal" if self.stacked else "none", "group": "A"},
                "thresholdsStyle": {"mode": "dashed" if self.steps else "off"},
            }
        panel = {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height},
            "datasource": DATASOURCE,
            "fieldConfig": {"defaults": defaults, "overrides": []},
            "options": self.options(),
            "targets": [self.target(i, *query) for i, query in enumerate(self.queries)],
        }
        if self.runbooks:
            panel["links"] = [link(f"Runbook: {name}", f"{RUNBOOKS}{name}.md", opens=True) for name in self.runbooks]
        return panel

    def options(self):
        if self.kind == "stat":
            return {
                "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
                "colorMode": "value",
                "graphMode": "area",
                "textMode": "auto",
                "orientation": "auto",
                "justifyMode": "auto",
                "wideLayout": True,
                "showPercentChange": False,
                "percentChangeColorMode": "standard",
            }
        if self.kind == "heatmap":
            return {
                "calculate": False,
                "cellGap": 1,
                "color": {
                    "mode": "scheme",
                    "scheme": "Oranges",
                    "steps": 64,
                    "reverse": False,
                    "fill": "dark-orange",
                    "exponent": 0.5,
                },
                "showValue": "never",
                "exemplars": {"color": "rgba(255,0,255,0.7)"},
                "filterValues": {"le": 1e-9},
                "legend": {"show": True},
                "tooltip": {"mode": "single", "yHistogram": False},
                "yAxis": {"axisPlacement": "left", "unit": self.unit},
                "cellValues": {"unit": "cps"},
            }
        return {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }

    def target(self, index, query, legend):
        target = {
            "refId": chr(ord("A") + index),
            "datasource": DATASOURCE,
            "editorMode": "code",
            "expr": fill(query),
            "legendFormat": legend,
            "range": self.kind != "stat",
            "instant": self.kind == "stat",
        }
        if self.kind == "heatmap":
            target["format"] = "heatmap"
        return target


def link(title, url, opens=False):
    """A link of a dashboard, which takes time and variables along, or of a panel, which opens another page."""
    return {
        "type": "link",
        "title": title,
        "url": url,
        "icon": "external link" if opens else "dashboard",
        "tooltip": "",
        "tags": [],
        "asDropdown": False,
        "targetBlank": opens,
        "includeVars": not opens,
        "keepTime": not opens,
    }


def lay_out(rows):
    """Panels with their places, one row below the other."""
    panels, number, y = [], 1, 0
    for title, content in rows:
        panels.append(
            {
                "id": number,
                "type": "row",
                "title": title,
                "collapsed": False,
                "panels": [],
                "gridPos": {"x": 0, "y": y, "w": WIDTH, "h": 1},
            }
        )
        number, y, x, tallest = number + 1, y + 1, 0, 0
        for panel in content:
            if x + panel.width > WIDTH:
                x, y, tallest = 0, y + tallest, 0
            panels.append(panel.build(number, x, y))
            number, x, tallest = number + 1, x + panel.width, max(tallest, panel.height)
        y += tallest
    return panels


def variable(name, label, query):
    """A choice of label values; several, or all: also series without the label."""
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": DATASOURCE,
        "refresh": 2,
        "sort": 1,
        "query": {"query": query, "refId": name},
        "definition": query,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "options": [],
        "hide": 0,
    }


def dashboard(uid, title, description, rows, links):
    """A whole dashboard, as Grafana 12 and later read it."""
    return {
        "uid": uid,
        "title": title,
        "description": description,
        "tags": ["odin"],
        "schemaVersion": 41,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "time": {"from": "now-1h", "to": "now"},
        "refresh": "30s",
        "timezone": "browser",
        "annotations": {"list": []},
        "links": [link(name, f"/d/{other}") for other, name in links if other != uid],
        "templating": {
            "list": [
                {
                    "name": "datasource",
                    "label": "Data source",
                    "type": "datasource",
                    "query": "prometheus",
                    "refresh": 1,
                    "current": {"selected": False, "text": "Prometheus", "value": "odin-prometheus"},
                    "options": [],
                    "hide": 0,
                    "regex": "",
                    "multi": False,
                    "includeAll": False,
                },
                variable("cluster", "Cluster", "label_values(odin_gateway_uptime_seconds, cluster)"),
                variable(
                    "instance", "Gateway", 'label_values(odin_gateway_uptime_seconds{cluster=~"$cluster"}, instance)'
                ),
                {
                    "name": "runbooks",
                    "label": "Runbooks",
                    "type": "constant",
                    "query": RUNBOOKS_AT,
                    "hide": 2,
                    "current": {"selected": False, "text": RUNBOOKS_AT, "value": RUNBOOKS_AT},
                    "options": [],
                },
            ]
        },
        "panels": lay_out(rows),
    }
