"""How gateways start, are looked after, and leave."""

import pytest
from chart import Refused, render


def drain(pause, window, **more):
    return {"config": {"drain": {"pause": pause, "window": window}}, **more}


@pytest.mark.parametrize(
    ("pause", "window", "seconds"),
    [("5s", "30s", 45), ("0s", "1s", 11), ("1m 30s", "2min", 220), ("1500ms", "10s", 22), ("010s", "1h", 3620)],
)
def test_the_grace_period_is_made_of_the_drain(pause, window, seconds):
    values = drain(pause, window, minReadySeconds=1)
    assert render(values).pod()["terminationGracePeriodSeconds"] == seconds


def test_pre_stop_is_part_of_the_grace_period():
    rendered = render(drain("5s", "30s", preStopSleepSeconds=7))
    assert rendered.pod()["terminationGracePeriodSeconds"] == 52
    assert rendered.gateway()["lifecycle"]["preStop"] == {"sleep": {"seconds": 7}}


def test_without_a_sleep_there_is_no_pre_stop():
    assert "lifecycle" not in render().gateway()


def test_a_longer_grace_period_is_taken_as_it_is():
    assert render(drain("5s", "30s", terminationGracePeriodSeconds=90)).pod()["terminationGracePeriodSeconds"] == 90
    assert render(drain("5s", "30s", terminationGracePeriodSeconds=40)).pod()["terminationGracePeriodSeconds"] == 40


def test_a_grace_period_that_would_kill_connections_is_refused():
    with pytest.raises(Refused, match="terminationGracePeriodSeconds is 39, but .* take 40"):
        render(drain("5s", "30s", terminationGracePeriodSeconds=39))


def test_a_canary_has_the_grace_period_of_its_own_drain():
    rendered = render({"canary": {"enabled": True, "config": {"drain": {"window": "2m"}}}})
    assert rendered.pod()["terminationGracePeriodSeconds"] == 45
    assert rendered.pod("odin-canary")["terminationGracePeriodSeconds"] == 135


@pytest.mark.parametrize("name", ["ODIN_DRAIN_PAUSE", "ODIN_DRAIN_WINDOW", "ODIN_ADMIN_LISTEN", "ODIN_CONFIG"])
def test_a_variable_cannot_undo_what_the_chart_computes_with(name):
    with pytest.raises(Refused, match=name):
        render({"extraEnv": [{"name": name, "value": "5m"}]})


def test_one_gateway_at_a_time_sends_its_clients_away():
    spec = render(drain("5s", "30s")).one("Deployment")["spec"]
    assert spec["minReadySeconds"] == 40
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}


def test_a_rollout_that_could_never_make_progress_is_refused():
    with pytest.raises(Refused, match="progressDeadlineSeconds"):
        render(drain("5s", "15m"))


def test_no_trouble_with_nats_restarts_a_gateway():
    container = render().gateway()
    for probe in ("livenessProbe", "startupProbe"):
        assert container[probe]["httpGet"] == {"path": "/livez", "port": "admin"}
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "admin"}


def test_ready_fails_fast_and_live_fails_slow():
    container = render().gateway()

    def seconds(probe):
        return container[probe]["periodSeconds"] * container[probe]["failureThreshold"]

    assert seconds("readinessProbe") <= 5 < 60 <= seconds("livenessProbe")
    # A load balancer that is told within that time hears of a drain before the pause is over.
    assert seconds("readinessProbe") < 5


def test_the_ports_are_those_of_the_configuration():
    rendered = render({"config": {"listen": "[::]:8443", "admin_listen": "[::]:9100"}})
    ports = {port["name"]: port["containerPort"] for port in rendered.gateway()["ports"]}
    assert ports == {"public": 8443, "admin": 9100}


def test_an_admin_address_that_no_probe_reaches_is_refused():
    for address in ("127.0.0.1:9090", "[::1]:9090"):
        with pytest.raises(Refused, match="config.admin_listen"):
            render({"config": {"admin_listen": address}})


def test_another_configuration_is_another_pod():
    def checksum(values):
        template = render(values).one("Deployment")["spec"]["template"]
        return template["metadata"]["annotations"]["checksum/config"]

    first = checksum({})
    assert checksum({"replicas": 5}) == first
    assert checksum({"config": {"log": {"level": "debug"}}}) != first


def test_another_secret_of_the_chart_is_another_pod():
    def checksum(token):
        template = render({"secret": {"env": {"ODIN_ADMIN_TOKEN": token}}}).one("Deployment")["spec"]["template"]
        return template["metadata"]["annotations"]["checksum/secret"]

    assert checksum("one-token-of-16-bytes") != checksum("another-of-16-bytes")


def test_a_configuration_that_is_to_be_reloaded_replaces_no_pod():
    def template(level):
        values = {"rolloutOnConfigChange": False, "config": {"log": {"level": level}}}
        return render(values).one("Deployment")["spec"]["template"]

    assert template("info") == template("debug")


def test_a_new_version_of_the_chart_alone_replaces_no_pod():
    for name, metadata, _ in render({"devNats": {"enabled": True}, "simulator": {"enabled": True}}).pod_specs():
        if not name.startswith("Pod"):
            assert "helm.sh/chart" not in metadata["labels"], name
