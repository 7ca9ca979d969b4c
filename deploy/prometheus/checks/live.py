"""Evaluates every rule, every query of dashboards and runbooks on what a real odin says of itself.

Findings are expressions that Prometheus refuses, metrics that nobody has, label values that are not documented,
selectors and queries without data, and alerts that fire although nothing is wrong. What is meant to be so is in
`expected`.
"""

import re
import time

from . import expected, files
from .promql import named_values, selectors

# So long everything is scraped before it is looked at: some samples for each rate.
SCRAPED = 12
# So often, a second apart, an expression must hold before it counts as an alert.
MOMENTS = 5
# What Grafana puts in.
VARIABLES = {"$cluster": ".*", "$instance": ".*", "$__rate_interval": "10s", "$__range": "1m", "${runbooks}": ""}
# Series that Prometheus makes itself.
OWN = {"up", "ALERTS", "ALERTS_FOR_STATE"}


def rules(stack):
    return [rule for group in stack.api("rules")["groups"] for rule in group["rules"]]


def fill(query):
    for variable, value in VARIABLES.items():
        query = query.replace(variable, value)
    return query


class Live:
    """One look at a stack that runs."""

    def __init__(self, stack, old_gateway):
        self.stack, self.old_gateway = stack, old_gateway
        self.findings, self.notes, self.absent, self.hollow = [], [], {}, set()
        self.documented = files.documented_labels()

    def wait(self):
        """Until every target is up, every rule was evaluated, and something has been delivered for some seconds."""

        def settled():
            targets = self.stack.api("targets")["activeTargets"]
            if not all(target["health"] == "up" for target in targets):
                return False
            if any(rule["health"] == "unknown" for rule in rules(self.stack)):
                return False
            samples = self.stack.api("query", query=f"min(count_over_time(up[{SCRAPED + 1}s]))")["result"]
            delivered = self.stack.api("query", query="sum(rate(odin_gateway_deliveries_total[10s])) > 0")["result"]
            return samples and float(samples[0]["value"][1]) >= SCRAPED and delivered

        self.stack.until("scrapes of everything", settled)

    def look(self):
        self.names = set(self.stack.api("label/__name__/values"))
        found = rules(self.stack)
        self.recorded = {rule["name"] for rule in found if rule["type"] == "recording"}
        queries = 0
        for rule in found:
            where = f"{rule['type']} rule {rule['name']}"
            if rule["health"] != "ok":
                self.findings.append(f"{where}: {rule.get('lastError', rule['health'])}")
            result = self.evaluate(where, rule["query"])
            self.compare(where, rule["query"])
            queries += 1
            if (
                rule["type"] == "alerting"
                and result
                and rule["name"] not in expected.FIRES
                and self.holds(rule["query"])
            ):
                self.findings.append(f"{where} fires in a healthy odin: {result[:2]}")
        # What is recorded of absent metrics has no data either.
        self.hollow = {rule["name"] for rule in found if rule["type"] == "recording" and self.lacks(rule["query"])}
        for dashboard, title, query in files.dashboard_queries():
            where = f"dashboard {dashboard}, {title!r}"
            result = self.evaluate(where, fill(query))
            self.compare(where, fill(query))
            queries += 1
            if result == [] and title not in expected.NO_DATA and not self.lacks(query):
                self.findings.append(f"{where}: no data: {query}")
        for runbook, query in files.runbook_queries():
            self.evaluate(f"runbook {runbook}", query)
            self.compare(f"runbook {runbook}", query)
            queries += 1
        self.check_selectors()
        return queries

    def evaluate(self, where, query):
        """The result; None for what is no expression."""
        try:
            return self.stack.api("query", query=query)["result"]
        except ValueError as error:
            self.findings.append(f"{where}: {error}: {query}")
            return None

    def holds(self, query):
        """Whether an alert's expression goes on to hold: what is under way in one moment is done in the next."""
        for _ in range(MOMENTS):
            time.sleep(1)
            if not self.stack.api("query", query=query)["result"]:
                return False
        return True

    def lacks(self, query):
        """Whether a metric of it is known to be absent."""
        return any(selector.metric in self.absent or selector.metric in self.hollow for selector in selectors(query))

    def compare(self, where, query):
        """Names with the scrape, label values with the documentation."""
        for selector in selectors(query):
            if selector.metric not in self.names | self.recorded | OWN:
                self.absent.setdefault(selector.metric, where)
                continue
            family = re.sub(r"_(bucket|sum|count)$", "", selector.metric)
            labels = self.documented.get(selector.metric, self.documented.get(family))
            if labels is None:
                if selector.metric.startswith("odin_gateway_"):
                    self.findings.append(f"{where}: {selector.metric} is not in docs/operations/metrics.md")
                continue
            for matcher in selector.matchers:
                for value in named_values(matcher):
                    if matcher[0] in labels and value not in labels[matcher[0]]:
                        self.findings.append(f"{where}: {selector.metric} has no {matcher[0]}={value!r}")

    def check_selectors(self):
        """Each selector of rules and dashboards has series here."""
        seen = {}
        for rule in rules(self.stack):
            for selector in selectors(rule["query"]):
                seen.setdefault(selector, f"rule {rule['name']}")
        for dashboard, title, query in files.dashboard_queries():
            for selector in selectors(fill(query)):
                seen.setdefault(selector, f"dashboard {dashboard}, {title!r}")
        for selector, where in seen.items():
            known = re.sub(r'(cluster|instance)=~"\.\*",?', "", str(selector)).replace(",}", "}").replace("{}", "")
            if selector.metric in self.absent or selector.metric in self.hollow or known in expected.NO_SERIES:
                continue
            if not self.stack.api("query", query=f"count({selector})")["result"]:
                self.findings.append(f"{where}: nothing has {selector}")

    def report(self):
        """Absent metrics as findings, or as notes where the gateway is an older one."""
        for metric, where in sorted(self.absent.items()):
            text = f"{where}: no metric {metric}"
            (self.notes if self.old_gateway and metric.startswith("odin_gateway_") else self.findings).append(text)
