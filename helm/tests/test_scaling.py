"""HPA, KEDA, budgets, and where pods go."""

import pytest
from chart import CHART, Refused, render

KEDA = {"enabled": True, "prometheus": {"url": "http://prometheus:9090"}}


def test_an_hpa_and_keda_together_are_refused():
    with pytest.raises(Refused, match="KEDA makes an HPA of its own"):
        render({"autoscaling": {"enabled": True}, "keda": KEDA})


def test_by_default_nothing_scales_and_the_deployment_says_how_many():
    rendered = render()
    assert not rendered.all("HorizontalPodAutoscaler") and not rendered.all("ScaledObject")
    assert rendered.one("Deployment")["spec"]["replicas"] == 2


@pytest.mark.parametrize("values", [{"autoscaling": {"enabled": True}}, {"keda": KEDA}])
def test_an_upgrade_does_not_undo_what_was_scaled(values):
    assert "replicas" not in render(values).one("Deployment")["spec"]


def test_the_hpa_aims_at_a_share_of_the_limit_of_connections():
    values = {"autoscaling": {"enabled": True, "connectionsPercent": 50}, "config": {"limits": {"connections": 8000}}}
    pods, cpu = render(values).one("HorizontalPodAutoscaler")["spec"]["metrics"]
    assert pods["pods"]["metric"]["name"] == "odin_gateway_connections"
    assert pods["pods"]["target"] == {"type": "AverageValue", "averageValue": "4000"}
    assert cpu["resource"]["target"] == {"type": "Utilization", "averageUtilization": 70}


def test_keda_aims_at_the_same_and_asks_for_the_stable_gateways_alone():
    spec = render({"keda": {**KEDA, "connectionsPercent": 50}}).one("ScaledObject")["spec"]
    prometheus = spec["triggers"][0]["metadata"]
    assert prometheus["threshold"] == "9500"
    assert prometheus["query"] == (
        'sum(odin_gateway_connections{namespace="streaming",service="odin-internal",track="stable"})'
    )
    # Not "zero connections", which would scale to the least at the moment when nobody knows.
    assert prometheus["ignoreNullValues"] == "false"
    assert spec["fallback"]["behavior"] == "currentReplicasIfHigher"


@pytest.mark.parametrize(
    "behavior",
    [
        lambda: render({"autoscaling": {"enabled": True}}).one("HorizontalPodAutoscaler")["spec"]["behavior"],
        lambda: render({"keda": KEDA}).one("ScaledObject")["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"],
    ],
)
def test_it_scales_up_at_once_and_down_slowly(behavior):
    up, down = behavior()["scaleUp"], behavior()["scaleDown"]
    assert up["stabilizationWindowSeconds"] == 0 and up["selectPolicy"] == "Max"
    assert down["stabilizationWindowSeconds"] >= 600 and down["selectPolicy"] == "Min"
    # A gateway has left before the next one begins to.
    (policy,) = down["policies"]
    assert policy["type"] == "Pods" and policy["value"] == 1
    assert policy["periodSeconds"] > render().pod()["terminationGracePeriodSeconds"]


def test_scaling_by_nothing_is_refused():
    with pytest.raises(Refused, match="autoscaling"):
        render({"autoscaling": {"enabled": True, "connectionsPercent": 0, "cpuPercent": 0}})


def test_scaling_by_a_share_of_no_cpu_is_refused():
    with pytest.raises(Refused, match="requests.cpu"):
        render({"autoscaling": {"enabled": True}, "resources": {"requests": {"cpu": None}}})


def test_fewer_at_most_than_at_least_are_refused():
    with pytest.raises(Refused, match="maxReplicas"):
        render({"autoscaling": {"enabled": True, "minReplicas": 5, "maxReplicas": 4}})


def test_gateways_that_are_not_ready_do_not_keep_a_node_from_being_emptied():
    spec = render().one("PodDisruptionBudget")["spec"]
    assert spec["maxUnavailable"] == 1 and spec["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


def test_in_production_gateways_spread_over_zones_and_nodes():
    zone, node = render({}, CHART / "values-ha.yaml").pod()["topologySpreadConstraints"]
    assert (zone["topologyKey"], zone["whenUnsatisfiable"]) == ("topology.kubernetes.io/zone", "DoNotSchedule")
    assert (node["topologyKey"], node["whenUnsatisfiable"]) == ("kubernetes.io/hostname", "ScheduleAnyway")
    for constraint in (zone, node):
        assert constraint["matchLabelKeys"] == ["pod-template-hash"]
        assert constraint["labelSelector"]["matchLabels"]["odin/track"] == "stable"


def test_memory_in_which_the_connections_do_not_fit_is_refused():
    with pytest.raises(Refused, match="resources.limits.memory: 90 % of it is"):
        render({"resources": {"limits": {"memory": "256Mi"}}})
    render({"resources": {"limits": {"memory": "256Mi"}}, "config": {"feeds": {"ring_total_bytes": "32MiB"}}})


def test_tls_needs_more_memory_for_the_same_connections():
    values = {"resources": {"limits": {"memory": "700Mi"}}, "config": {"limits": {"connections": 60000}}}
    render(values)
    with pytest.raises(Refused, match="resources.limits.memory"):
        render({**values, "tls": {"secret": "certificate"}})


@pytest.mark.parametrize(
    ("resources", "shards"),
    [
        ({"requests": {"cpu": "1"}}, "shards = 1"),
        ({"requests": {"cpu": "2500m"}}, "shards = 3"),
        ({"requests": {"cpu": 4}}, "shards = 4"),
        ({"requests": {"cpu": "100m"}}, "shards = 1"),
    ],
)
def test_there_are_as_many_shards_as_cores_were_asked_for(resources, shards):
    assert shards in render({"resources": resources}).odin_toml()


def test_with_a_limit_of_cpu_or_a_number_of_ones_own_shards_are_left_alone():
    assert "shards" not in render({"resources": {"limits": {"cpu": "2"}}}).odin_toml()
    assert "shards = 7" in render({"config": {"shards": 7}}).odin_toml()
