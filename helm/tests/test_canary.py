"""The second Deployment: apart from the first one, and given its share."""

import pytest
from chart import Refused, render

ROUTE = {"enabled": True, "parentRefs": [{"name": "public"}], "hostnames": ["stream.example"]}
CANARY = {"enabled": True, "weight": 10, "image": {"tag": "0.2.0"}}


def selected(selector, labels):
    return selector.items() <= labels.items()


def pod_labels(rendered, name):
    return rendered.one("Deployment", name)["spec"]["template"]["metadata"]["labels"]


def test_neither_deployment_selects_the_others_pods():
    rendered = render({"canary": CANARY})
    stable, canary = (rendered.one("Deployment", name) for name in ("odin", "odin-canary"))
    for one, other in ((stable, canary), (canary, stable)):
        selector = one["spec"]["selector"]["matchLabels"]
        assert selected(selector, one["spec"]["template"]["metadata"]["labels"])
        assert not selected(selector, other["spec"]["template"]["metadata"]["labels"])


def test_no_deployment_selects_pods_of_another_component():
    rendered = render({"canary": CANARY, "devNats": {"enabled": True}, "simulator": {"enabled": True}})
    for deployment in rendered.all("Deployment"):
        matching = [
            name
            for name, metadata, _ in rendered.pod_specs()
            if selected(deployment["spec"]["selector"]["matchLabels"], metadata["labels"])
        ]
        assert matching == [f"Deployment {deployment['metadata']['name']}"]


def test_selectors_do_not_change_with_anything_that_may():
    """Kubernetes refuses to change them, and then the upgrade fails."""
    plain = render()
    changed = render(
        {
            "image": {"tag": "9.9.9"},
            "commonLabels": {"team": "a"},
            "podLabels": {"b": "c"},
            "config": {"log": {"level": "debug"}},
            "canary": CANARY,
            "httpRoute": ROUTE,
        }
    )
    expected = {
        "app.kubernetes.io/name": "odin",
        "app.kubernetes.io/instance": "odin",
        "app.kubernetes.io/component": "gateway",
        "odin/track": "stable",
    }
    for rendered in (plain, changed):
        assert rendered.one("Deployment")["spec"]["selector"]["matchLabels"] == expected


@pytest.mark.parametrize("weight", [0, 1, 50, 100])
def test_a_route_divides_new_connections_by_weight(weight):
    rendered = render({"canary": {**CANARY, "weight": weight}, "httpRoute": ROUTE})
    (rule,) = rendered.one("HTTPRoute")["spec"]["rules"]
    weights = {backend["name"]: backend["weight"] for backend in rule["backendRefs"]}
    assert weights == {"odin": 100 - weight, "odin-canary": weight}


def test_with_weights_each_service_leads_to_its_own_pods():
    rendered = render({"canary": CANARY, "httpRoute": ROUTE})
    stable, canary = (rendered.one("Service", name)["spec"]["selector"] for name in ("odin", "odin-canary"))
    assert selected(stable, pod_labels(rendered, "odin")) and not selected(stable, pod_labels(rendered, "odin-canary"))
    assert selected(canary, pod_labels(rendered, "odin-canary")) and not selected(canary, pod_labels(rendered, "odin"))


def test_without_a_route_one_service_leads_to_both():
    rendered = render({"canary": CANARY, "service": {"type": "LoadBalancer"}})
    selector = rendered.one("Service")["spec"]["selector"]
    for name in ("odin", "odin-canary"):
        assert selected(selector, pod_labels(rendered, name))
    assert not rendered.has("Service", "odin-canary")


def test_nginx_gets_the_weight_by_a_second_ingress():
    rendered = render({"canary": CANARY, "ingress": {"enabled": True, "hosts": ["stream.example"]}})
    annotations = rendered.one("Ingress", "odin-canary")["metadata"]["annotations"]
    assert annotations["nginx.ingress.kubernetes.io/canary-weight"] == "10"
    (rule,) = rendered.one("Ingress", "odin-canary")["spec"]["rules"]
    assert rule["http"]["paths"][0]["backend"]["service"]["name"] == "odin-canary"
    assert "nginx.ingress.kubernetes.io/canary" not in rendered.one("Ingress")["metadata"]["annotations"]


def test_a_canary_differs_in_what_it_says_and_in_nothing_else():
    values = {"config": {"limits": {"connections": 5000, "strikes": 3}}}
    canary = {**CANARY, "config": {"limits": {"connections": 100}}, "extraEnv": [{"name": "RUST_BACKTRACE", "value": "1"}]}
    rendered = render({**values, "canary": canary})
    assert rendered.gateway()["image"] == "odin:0.1.0"
    assert rendered.gateway("odin-canary")["image"] == "odin:0.2.0"
    assert "connections = 5000" in rendered.odin_toml()
    assert "connections = 100" in rendered.odin_toml("odin-canary") and "strikes = 3" in rendered.odin_toml("odin-canary")
    assert "RUST_BACKTRACE" in [entry["name"] for entry in rendered.gateway("odin-canary")["env"]]
    assert "RUST_BACKTRACE" not in [entry["name"] for entry in rendered.gateway()["env"]]
    for field in ("securityContext", "livenessProbe", "readinessProbe", "resources", "ports"):
        assert rendered.gateway()[field] == rendered.gateway("odin-canary")[field], field


def test_the_tag_of_a_canary_beats_the_digest_of_the_stable_image():
    digest = "sha256:" + "0" * 64
    rendered = render({"image": {"digest": digest}, "canary": CANARY})
    assert rendered.gateway()["image"] == f"odin@{digest}"
    assert rendered.gateway("odin-canary")["image"] == "odin:0.2.0"


def test_what_watches_the_gateways_watches_the_canary_too():
    rendered = render({"canary": CANARY, "networkPolicy": {"enabled": True}, "httpRoute": ROUTE})
    selectors = [
        rendered.one("Service", "odin-internal")["spec"]["selector"],
        rendered.one("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        rendered.one("NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
    ]
    for selector in selectors:
        for name in ("odin", "odin-canary"):
            assert selected(selector, pod_labels(rendered, name))


def test_a_weight_beyond_all_is_refused():
    with pytest.raises(Refused, match="weight"):
        render({"canary": {"enabled": True, "weight": 101}})
