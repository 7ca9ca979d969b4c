"""What pods may do, who reaches them, and where secrets are."""

import pytest
from chart import CHART, CI_FILES, Refused, render, render_ci

EVERYTHING = {
    "canary": {"enabled": True},
    "devNats": {"enabled": True},
    "simulator": {"enabled": True},
}


def test_no_pod_of_any_kind_has_a_right_that_it_does_not_need():
    for name, _, spec in render(EVERYTHING).pod_specs():
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["enableServiceLinks"] is False, name
        pod = spec["securityContext"]
        assert pod["runAsNonRoot"] is True and pod["runAsUser"] >= 10000, name
        assert pod["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for container in spec["containers"]:
            own = container["securityContext"]
            assert own["readOnlyRootFilesystem"] is True and own["allowPrivilegeEscalation"] is False, name
            assert own["capabilities"] == {"drop": ["ALL"]} and own["runAsNonRoot"] is True, name
            assert container["resources"]["limits"]["memory"] and container["resources"]["requests"]["cpu"], name


SECRETS = [
    ("admin", "token", "ODIN_ADMIN_TOKEN"),
    ("auth", "hs256_secret", "ODIN_AUTH_HS256_SECRET"),
    ("nats", "password", "ODIN_NATS_PASSWORD"),
    ("nats", "token", "ODIN_NATS_TOKEN"),
    ("nats", "nkey_seed", "ODIN_NATS_NKEY_SEED"),
]


@pytest.mark.parametrize(("table", "key", "variable"), SECRETS)
def test_a_secret_in_the_configuration_is_refused(table, key, variable):
    for values in ({"config": {table: {key: "hunter2"}}}, {"canary": {"enabled": True, "config": {table: {key: "hunter2"}}}}):
        with pytest.raises(Refused, match=f"would stand in a ConfigMap: give {variable}") as refused:
            render(values)
        assert "hunter2" not in str(refused.value)


def test_a_password_in_the_address_of_nats_is_refused():
    for url in ("nats://user:hunter2@nats:4222", "nats://a:4222,nats://token@b:4222", ["nats://a", "nats://user:hunter2@b"]):
        with pytest.raises(Refused, match="config.nats.url has a user or a token in it") as refused:
            render({"config": {"nats": {"url": url}}})
        assert "hunter2" not in str(refused.value)


def test_a_secret_given_for_trials_is_in_the_secret_and_nowhere_else():
    rendered = render({"secret": {"env": {"ODIN_ADMIN_TOKEN": "hunter2-hunter2-hunter2"}}})
    assert rendered.one("Secret")["stringData"] == {"ODIN_ADMIN_TOKEN": "hunter2-hunter2-hunter2"}
    assert rendered.text.count("hunter2-hunter2-hunter2") == 1
    assert rendered.gateway()["envFrom"] == [{"secretRef": {"name": "odin"}}]


def test_a_secret_of_ones_own_is_named_and_none_is_made():
    rendered = render({"secret": {"existing": "mine"}})
    assert not rendered.all("Secret")
    assert rendered.gateway()["envFrom"] == [{"secretRef": {"name": "mine"}}]


def test_two_places_for_one_secret_are_refused():
    with pytest.raises(Refused, match="secret.existing and secret.env"):
        render({"secret": {"existing": "mine", "env": {"ODIN_ADMIN_TOKEN": "x"}}})
    with pytest.raises(Refused, match="config.tls.cert_file and tls.secret are both set"):
        render({"tls": {"secret": "mine"}, "config": {"tls": {"cert_file": "/a"}}})


def test_the_simulator_has_none_of_the_gateways_secrets():
    rendered = render({**EVERYTHING, "secret": {"existing": "mine"}, "nats": {"credsSecret": {"name": "creds"}}})
    (container,) = rendered.pod("odin-simulator")["containers"]
    assert "envFrom" not in container and "volumes" not in rendered.pod("odin-simulator")


def test_files_of_secrets_are_where_the_configuration_says():
    rendered = render(
        {
            "nats": {"credsSecret": {"name": "a"}, "tlsSecret": {"name": "b", "cert": "tls.crt", "key": "tls.key"}},
            "tls": {"secret": "c"},
            "auth": {"publicKeySecret": {"name": "d"}, "apiKeysSecret": {"name": "e"}, "caSecret": {"name": "f"}},
        }
    )
    (volume,) = rendered.pod()["volumes"]
    assert volume["projected"]["defaultMode"] == 0o440
    paths = [
        "/etc/odin/" + item["path"]
        for source in volume["projected"]["sources"]
        for item in (source.get("secret") or source["configMap"])["items"]
    ]
    assert len(paths) == 10 and len(set(paths)) == 10
    environment = {entry["name"]: entry.get("value") for entry in rendered.gateway()["env"]}
    said = rendered.odin_toml() + environment["SSL_CERT_FILE"]
    for path in paths:
        assert path in said or path == "/etc/odin/odin.toml", path
    assert rendered.gateway()["volumeMounts"][0]["mountPath"] == "/etc/odin"


def test_nothing_can_be_mounted_into_the_configuration():
    for path in ("/etc/odin", "/etc/odin/", "/etc/odin/more"):
        with pytest.raises(Refused, match="extraVolumeMounts"):
            render({"extraVolumeMounts": [{"name": "x", "mountPath": path}]})
    render({"extraVolumeMounts": [{"name": "x", "mountPath": "/etc/odin-more"}]})


def test_clients_do_not_reach_the_admin_listener():
    """Checklist 59: admin and metrics are not exposed by the public Service, an Ingress or a route."""
    for file in CI_FILES:
        rendered = render_ci(file)
        for service in rendered.all("Service"):
            targets = [port["targetPort"] for port in service["spec"]["ports"]]
            if service["metadata"]["name"] == "odin-internal":
                assert targets == ["admin"] and service["spec"]["clusterIP"] == "None"
                assert service["spec"]["publishNotReadyAddresses"] is True
            else:
                assert "admin" not in targets
        assert "odin-internal" not in str(rendered.all("Ingress") + rendered.all("HTTPRoute"))


def policy(values, *files):
    return render({"networkPolicy": {"enabled": True}, **values}, *files).one("NetworkPolicy")["spec"]


def test_the_network_policy_lets_in_clients_and_monitoring():
    spec = policy({})
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    clients, admin = spec["ingress"]
    assert clients == {"ports": [{"port": "public"}]}
    assert admin["ports"] == [{"port": "admin"}]
    (monitoring,) = admin["from"]
    assert monitoring["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "monitoring"}


def test_where_clients_are_listed_the_test_pod_is_one_of_them():
    controller = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress-nginx"}}}
    clients = policy({"networkPolicy": {"enabled": True, "ingress": {"clients": [controller]}}})["ingress"][0]
    assert clients["from"][0] == controller
    assert clients["from"][1]["podSelector"]["matchLabels"].items() <= render().one("Pod", "odin-test")["metadata"]["labels"].items()


def test_the_network_policy_never_opens_the_admin_port_to_all():
    spec = policy({"networkPolicy": {"enabled": True, "ingress": {"admin": []}}})
    assert spec["ingress"] == [{"ports": [{"port": "public"}]}]


@pytest.mark.parametrize(
    ("url", "ports"),
    [
        ("", [4222]),
        ("tls://a.example:4222,tls://b.example:4333", [4222, 4333]),
        ("nats://[2001:db8::1]:4444", [4444]),
        (["nats://a", "nats://b:4223"], [4222, 4223]),
    ],
)
def test_the_network_policy_lets_out_to_the_ports_of_nats(url, ports):
    dns, nats = policy({"config": {"nats": {"url": url}}})["egress"]
    assert dns["ports"] == [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]
    assert nats["ports"] == [{"port": port, "protocol": "TCP"} for port in ports]


def test_the_network_policy_lets_out_to_keys_and_collectors_only_where_there_are_some():
    assert len(policy({})["egress"]) == 2
    auth = {"jwks_url": "https://id.example:8443/keys", "algorithms": ["RS256"]}
    keys = policy({"config": {"auth": auth}})["egress"][2]
    assert keys["ports"] == [{"port": 8443, "protocol": "TCP"}]
    collector = policy({"networkPolicy": {"enabled": True, "egress": {"otlp": {"ports": [4317]}}}})["egress"][2]
    assert collector["ports"] == [{"port": 4317, "protocol": "TCP"}]


def test_in_production_there_is_a_network_policy():
    assert render({}, CHART / "values-ha.yaml").has("NetworkPolicy")


def test_a_proxy_header_that_nobody_sends_is_refused():
    http = {"proxy_protocol": True, "trusted_proxies": ["10.0.0.0/8"]}
    with pytest.raises(Refused, match="sends no PROXY header"):
        render({"config": {"http": http}, "ingress": {"enabled": True, "hosts": ["a.example"]}})
    with pytest.raises(Refused, match="trusted_proxies"):
        render({"config": {"http": {"proxy_protocol": True}}})


def test_invented_prices_do_not_get_into_a_real_stream_by_mistake():
    with pytest.raises(Refused, match="simulator.inProduction"):
        render({"simulator": {"enabled": True}})
