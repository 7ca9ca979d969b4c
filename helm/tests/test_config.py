"""odin.toml and the Job that reads it: what is rendered is what was meant, and a real gateway takes it."""

import os
import subprocess
import tomllib

import pytest
from chart import CI_FILES, ROOT, Refused, render, render_ci

GATEWAY = os.environ.get("ODIN_GATEWAY")


def config(values):
    return tomllib.loads(render({"config": values}).odin_toml())


def test_numbers_stay_whole():
    """Helm's own toToml writes 50 as 50.0 and 10000000 as 1e+07."""
    got = config({"limits": {"connections": 9000, "pattern_subjects": 10000000, "strikes": 50}})
    assert got["limits"] == {"connections": 9000, "pattern_subjects": 10000000, "strikes": 50}
    assert isinstance(got["limits"]["strikes"], int)


@pytest.mark.parametrize("text", ['a "quoted" \\ text', "line\nbreak\ttab", "<&>'{{ }}#", "ünïcödé 😀", "", "1", "true", "1e3"])
def test_texts_stay_what_they_are(text):
    assert config({"http": {"files": text}})["http"]["files"] == text


def test_tables_in_lists_and_tables_in_those_are_kept():
    rules = [
        {
            "channel": "signals:high",
            "subject": "odin.signals.*.*",
            "access": {"tiers": ["premium", "x y"]},
            "mode": "all",
            "where": {"field": "severity", "equals": "high"},
            "values": {"kind": ["a", "b"]},
            "pattern": True,
        },
        {"channel": "a:{b}", "subject": "odin.{b}", "access": "public", "mode": "latest"},
    ]
    got = config({"rules": rules, "log": {"level": "debug"}, "http": {"trusted_proxies": []}})
    assert got["rules"] == rules
    assert got["log"] == {"level": "debug"} and got["http"] == {"trusted_proxies": []}
    # Plain options stand before the first table, else they would belong to it.
    assert got["listen"] == "0.0.0.0:8080"


def test_null_takes_a_default_of_the_chart_away():
    got = config({"drain": None, "limits": {"connections": None}})
    assert "drain" not in got and "connections" not in got.get("limits", {})


def test_the_address_of_nats_follows_what_is_installed():
    assert config({})["nats"]["url"] == "nats://nats:4222"
    assert config({"nats": {"url": "nats://elsewhere:4222"}})["nats"]["url"] == "nats://elsewhere:4222"
    dev = tomllib.loads(render({"devNats": {"enabled": True}}).odin_toml())
    assert dev["nats"]["url"] == "nats://odin-dev-nats:4222"


@pytest.mark.skipif(not GATEWAY and not os.environ.get("CI"), reason="ODIN_GATEWAY is not set")
@pytest.mark.parametrize("file", CI_FILES, ids=lambda file: file.stem)
def test_a_real_gateway_accepts_every_configuration_of_ci(file, tmp_path):
    rendered = render_ci(file)
    own = {name: value for secret in rendered.all("Secret") for name, value in secret["stringData"].items()}
    for deployment in rendered.all("Deployment"):
        name = deployment["metadata"]["name"]
        if deployment["metadata"]["labels"]["app.kubernetes.io/component"] != "gateway":
            continue
        path = tmp_path / f"{name}.toml"
        path.write_text(rendered.odin_toml(name))
        variables = {entry["name"]: entry["value"] for entry in rendered.gateway(name)["env"] if "value" in entry}
        environment = {"PATH": os.environ["PATH"], **own, **variables}
        done = subprocess.run(
            [ROOT / GATEWAY, "check-config", "--config", path], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr


def job(values=None):
    (found,) = render(values).all("Job")
    return found


def test_the_job_is_another_one_when_anything_of_it_changes():
    """A Job cannot be changed: under the same name the upgrade would fail."""
    jobs = [
        job(),
        job({"config": {"stream": {"max_age": "2h"}}}),
        job({"provision": {"update": True}}),
        job({"image": {"tag": "0.2.0"}}),
        job({"tolerations": [{"key": "a", "operator": "Exists"}]}),
        job({"provision": {"resources": {"limits": {"memory": "1Gi"}}}}),
    ]
    assert len({one["metadata"]["name"] for one in jobs}) == len(jobs)
    assert all(len(one["metadata"]["name"]) <= 63 for one in jobs)
    assert job({"replicas": 7})["metadata"]["name"] == jobs[0]["metadata"]["name"]


def test_the_job_waits_for_nats_and_gives_up_on_a_bad_configuration():
    spec = job()["spec"]
    assert spec["backoffLimit"] == 12
    assert spec["podFailurePolicy"]["rules"][0]["onExitCodes"]["values"] == [2]
    assert spec["template"]["spec"]["restartPolicy"] == "Never"
    assert "helm.sh/hook" not in job()["metadata"].get("annotations", {})


def test_the_job_may_be_another_user_of_nats():
    values = {
        "nats": {"credsSecret": {"name": "gateway"}},
        "provision": {"credsSecret": {"name": "operator", "key": "op.creds"}, "existingSecret": "operator-env"},
        "secret": {"existing": "gateway-env"},
    }
    (container,) = job(values)["spec"]["template"]["spec"]["containers"]
    environment = {entry["name"]: entry.get("value") for entry in container["env"]}
    assert environment["ODIN_NATS_CREDS_FILE"] == "/etc/odin-operator/op.creds"
    # The last one counts where both have the same variable.
    assert container["envFrom"] == [{"secretRef": {"name": "gateway-env"}}, {"secretRef": {"name": "operator-env"}}]


@pytest.mark.parametrize(
    "values",
    [
        {"replica": 3},
        {"replicas": "3"},
        {"replicas": -1},
        {"config": {"drain": {"window": 30}}},
        {"config": {"drain": {"window": "30"}}},
        {"config": {"drain": {"windows": "30s"}}},
        {"config": {"listen": "8080"}},
        {"config": {"shards": 0}},
        {"config": {"rules": []}},
        {"image": {"digest": "latest"}},
        {"service": {"type": "ExternalName"}},
        {"secret": {"env": {"odin_admin_token": "x"}}},
        {"topologySpread": [{"topologyKey": "zone"}]},
        {"probes": {"readiness": {"path": "/"}}},
        {"networkPolicy": {"ingress": {"clients": [{"ipblock": {}}]}}},
        {"fullnameOverride": "x" * 41},
        {"fullnameOverride": "Odin"},
        {"scaling": {"down": {"stabilizationSeconds": 3601}}},
        {"podDisruptionBudget": {"maxUnavailable": 0}},
        {"extraVolumeMounts": [{"mountPath": "/a"}]},
    ],
    ids=str,
)
def test_the_schema_refuses_what_makes_no_sense(values):
    with pytest.raises(Refused, match="schema"):
        render(values)
