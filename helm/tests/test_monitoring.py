"""What Prometheus and Grafana are given."""

import json
import shutil
import subprocess

import yaml
from chart import CHART, ROOT, render

EVERYTHING = {"serviceMonitor": {"enabled": True}, "rules": {"enabled": True}, "dashboards": {"enabled": True}}


def test_without_the_operator_nothing_of_it_is_rendered():
    assert not [kind for kind in ("ServiceMonitor", "PrometheusRule", "ScaledObject", "HTTPRoute") if render().all(kind)]


def test_prometheus_scrapes_each_gateway_once():
    rendered = render({"monitoring": EVERYTHING, "httpRoute": {"enabled": True, "parentRefs": [{"name": "a"}]}, "canary": {"enabled": True}})
    wanted = rendered.one("ServiceMonitor")["spec"]["selector"]["matchLabels"]
    found = [
        service["metadata"]["name"]
        for service in rendered.all("Service")
        if wanted.items() <= service["metadata"]["labels"].items()
    ]
    assert found == ["odin-internal"]


def test_series_have_the_labels_that_alerts_and_scalers_ask_for():
    rendered = render({"monitoring": {**EVERYTHING, "cluster": "odin-eu"}})
    (endpoint,) = rendered.one("ServiceMonitor")["spec"]["endpoints"]
    labels = {rule["targetLabel"]: rule.get("replacement") for rule in endpoint["relabelings"]}
    assert labels == {"track": None, "job": "odin-gateway", "cluster": "odin-eu", "instance": None}


def test_alerts_are_rendered_as_they_are():
    expected = yaml.safe_load((CHART / "files" / "rules.yaml").read_text())
    assert render({"monitoring": EVERYTHING}).one("PrometheusRule")["spec"] == expected


def test_each_dashboard_is_a_config_map_that_grafana_finds():
    rendered = render({"monitoring": {**EVERYTHING, "dashboards": {"enabled": True, "namespace": "grafana"}}})
    files = {file.name: json.loads(file.read_text()) for file in (CHART / "files" / "dashboards").glob("*.json")}
    found = {}
    for config_map in rendered.all("ConfigMap"):
        if config_map["metadata"]["labels"].get("grafana_dashboard") == "1":
            assert config_map["metadata"]["namespace"] == "grafana"
            found |= {name: json.loads(text) for name, text in config_map["data"].items()}
    assert found == files and files


def checkout(folder):
    """A copy of what sync.sh touches, with alerts and a dashboard in deploy/."""
    shutil.copytree(ROOT / "helm", folder / "helm", ignore=shutil.ignore_patterns("schemas", "tests"))
    rules, dashboards = folder / "deploy" / "prometheus" / "rules", folder / "deploy" / "grafana" / "dashboards"
    for path in (rules, dashboards):
        path.mkdir(parents=True)
    (rules / "odin.rules.yml").write_text("groups: [{name: new, rules: []}]\n")
    (dashboards / "new.json").write_text("{}\n")
    return lambda *arguments: subprocess.run([folder / "helm" / "sync.sh", *arguments], capture_output=True, text=True)


def test_a_copy_that_differs_is_found_and_mended(tmp_path):
    sync = checkout(tmp_path)
    files = tmp_path / "helm" / "odin" / "files"
    before = sorted(files.rglob("*"))

    checked = sync("--check")
    assert checked.returncode == 1 and "make chart-sync" in checked.stderr
    assert sorted(files.rglob("*")) == before

    assert sync().returncode == 0
    assert sync("--check").returncode == 0
    assert "new" in (files / "rules.yaml").read_text()
    # One that was deleted there is deleted here.
    assert [file.name for file in (files / "dashboards").iterdir()] == ["new.json"]
