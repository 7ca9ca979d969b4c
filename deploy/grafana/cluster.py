"""The whole cluster on one page: is everybody served, how late, does the balance come out, who comes and goes."""

from panels import Panel

NAME, TITLE = "cluster", "odin cluster"
DESCRIPTION = "Begin here: what clients of all gateways get, and what goes on."

RED = [(1, "red")]
LATENCY = [(0.025, "yellow"), (0.05, "red")]
HOPS = [
    ("publisher_to_stream", "From the publisher's timestamp until the stream has stored it. Needs clocks that agree."),
    ("stream_to_gateway", "From the stream's timestamp until the gateway has it, holes that were filled included."),
    ("gateway_to_socket", "From the bus of the gateway until it is written to a socket that takes it."),
]


def heatmap(hop, description):
    return Panel(
        f"Latency: {hop}",
        description,
        "s",
        [(f'sum by (le) (increase(odin_gateway_latency_seconds_bucket{{C,hop="{hop}"}}[$__rate_interval]))', "{{le}}")],
        kind="heatmap",
        runbooks=["OdinLatencyHigh"],
    )


ROWS = [
    (
        "Now",
        [
            Panel(
                "Gateways ready",
                "How many gateways take new clients.",
                "none",
                [("sum(odin_gateway_ready{C})", "ready")],
                kind="stat",
                width=3,
                steps=[],
                runbooks=["OdinNoGatewayReady", "OdinGatewayNotReady", "OdinGatewayDown"],
            ),
            Panel(
                "Connections",
                "Open connections of all gateways.",
                "short",
                [("sum(odin_gateway_connections{C})", "open")],
                kind="stat",
                width=3,
            ),
            Panel(
                "Room used",
                "Connections beside the limit of all gateways together.",
                "percentunit",
                [("sum(odin_gateway_connections{C}) / sum(odin_gateway_limits_connections{C})", "used")],
                kind="stat",
                width=3,
                steps=[(0.7, "yellow"), (0.85, "red")],
                most=1,
                runbooks=["OdinConnectionsNearLimit"],
            ),
            Panel(
                "Deliveries",
                "Updates written to clients each second.",
                "ops",
                [("sum(rate(odin_gateway_deliveries_total{C}[$__rate_interval]))", "deliveries")],
                kind="stat",
                width=3,
            ),
            Panel(
                "Slowest hop, p95",
                "One update in twenty takes longer on the slowest hop behind the stream.",
                "s",
                [('max(cluster_hop:odin_latency_seconds:p95_5m{C,hop!="publisher_to_stream"})', "p95")],
                kind="stat",
                width=3,
                steps=LATENCY,
                runbooks=["OdinLatencyHigh"],
            ),
            Panel(
                "Stale gateways",
                "Gateways that have told their clients that data may be old.",
                "none",
                [("sum(odin_gateway_stale{C})", "stale")],
                kind="stat",
                width=3,
                steps=RED,
                runbooks=["OdinDataStale"],
            ),
            Panel(
                "Owed",
                "Deliveries that are neither made nor accounted for. Only slow readers have any.",
                "short",
                [("sum(odin_gateway_owed_pending{C})", "owed")],
                kind="stat",
                width=3,
                runbooks=["OdinDeliveriesOwed"],
            ),
            Panel(
                "Alerts",
                "Alerts of odin that fire now.",
                "none",
                [('count(ALERTS{alertstate="firing",alertname=~"Odin.*"}) or vector(0)', "firing")],
                kind="stat",
                width=3,
                steps=RED,
            ),
        ],
    ),
    (
        "Load",
        [
            Panel(
                "Connections of each gateway",
                "A gateway that has far more than the others: look at the load balancer.",
                "short",
                [("odin_gateway_connections{C}", "{{instance}}")],
                stacked=True,
            ),
            Panel(
                "Deliveries of each gateway",
                "Updates written to clients.",
                "ops",
                [("instance:odin_deliveries:rate1m{C}", "{{instance}}")],
                stacked=True,
                runbooks=["OdinPublishersSilent"],
            ),
            Panel(
                "Publications received",
                "What publishers send, as the buses of gateways take it: once for each gateway.",
                "ops",
                [("sum by (class) (rate(odin_gateway_publications_received_total{C}[$__rate_interval]))", "{{class}}")],
                runbooks=["OdinPublishersSilent", "OdinPublicationsUnmapped"],
            ),
            Panel(
                "Bytes to clients",
                "By format: json and msgpack are WebSockets, events are event streams.",
                "Bps",
                [("sum by (format) (rate(odin_gateway_sent_bytes_total{C}[$__rate_interval]))", "{{format}}")],
                stacked=True,
            ),
            Panel(
                "Subscriptions and feeds",
                "A feed is what many subscriptions share.",
                "short",
                [
                    ("sum(odin_gateway_subscriptions{C})", "subscriptions"),
                    ("sum(odin_gateway_feeds{C})", "feeds of all gateways"),
                ],
            ),
            Panel(
                "CPU of each gateway",
                "Cores used. A gateway uses at most its shards and the bus.",
                "none",
                [("rate(odin_gateway_process_cpu_seconds_total{C}[$__rate_interval])", "{{instance}}")],
            ),
        ],
    ),
    (
        "Latency",
        [
            *[heatmap(*hop) for hop in HOPS],
            Panel(
                "Latency by hop",
                "p50, p95 and p99 of all gateways.",
                "s",
                [
                    (
                        f"histogram_quantile({q}, sum by (hop, le) (rate(odin_gateway_latency_seconds_bucket{{C}}[$__rate_interval])))",
                        "{{hop}} " + name,
                    )
                    for q, name in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
                ],
                width=12,
                steps=[(0.05, "red")],
                runbooks=["OdinLatencyHigh", "OdinShardLoopLag"],
            ),
            Panel(
                "Updates slower than 50 ms",
                "Share of an hour; the objective is 1 %. At 14.4 % the month's budget lasts two days.",
                "percentunit",
                [("cluster_hop:odin_latency_slow:ratio_rate1h{C}", "{{cluster}} {{hop}}")],
                width=12,
                steps=[(0.01, "yellow"), (0.144, "red")],
                runbooks=["OdinLatencyBudgetFast", "OdinLatencyBudgetSlow"],
            ),
        ],
    ),
    (
        "Balance",
        [
            Panel(
                "Owed and settled",
                "What subscribers are owed, and how it ended. The sums are equal but for slow readers.",
                "ops",
                [
                    ("sum(rate(odin_gateway_owed_total{C}[$__rate_interval]))", "owed"),
                    ("sum by (outcome) (rate(odin_gateway_settled_total{C}[$__rate_interval]))", "{{outcome}}"),
                ],
                runbooks=["OdinDeliveriesOwed", "OdinGapsAnnounced"],
            ),
            Panel(
                "Owed and not settled, received and not sorted",
                "More than zero for long while no reader is behind: a fault of the gateway.",
                "short",
                [
                    ("sum by (instance, class) (odin_gateway_owed_pending{C})", "{{instance}} owed, {{class}}"),
                    (
                        "sum by (instance) (odin_gateway_publications_received_total{C}) - "
                        "sum by (instance) (odin_gateway_publications_sorted_total{C})",
                        "{{instance}} not sorted",
                    ),
                ],
                runbooks=["OdinDeliveriesOwed", "OdinPublicationsUnsorted"],
            ),
            Panel(
                "Readers behind",
                "Share of connections that are slower than their data.",
                "percentunit",
                [
                    (
                        "sum by (instance) (odin_gateway_connections_behind{C}) / sum by (instance) (odin_gateway_connections{C} > 0)",
                        "{{instance}}",
                    )
                ],
                most=1,
                steps=[(0.1, "red")],
                runbooks=["OdinReadersBehind"],
            ),
        ],
    ),
    (
        "Coming and going",
        [
            Panel(
                "Connects and closes",
                "Reconnects show as both.",
                "cps",
                [
                    ("sum(rate(odin_gateway_connections_opened_total{C}[$__rate_interval]))", "opened"),
                    (
                        "sum by (reason) (rate(odin_gateway_connections_closed_total{C}[$__rate_interval])) > 0",
                        "closed: {{reason}}",
                    ),
                ],
                runbooks=["OdinReconnectStorm"],
            ),
            Panel(
                "Connections of gateways that drain",
                "They fall to zero within the window.",
                "short",
                [("odin_gateway_connections{C} and odin_gateway_draining{C} == 1", "{{instance}}")],
                runbooks=["OdinDrainStuck"],
            ),
            Panel(
                "Resumes",
                "Subscriptions that came with a cursor. All but `recovered` begin anew.",
                "cps",
                [("sum by (result) (rate(odin_gateway_resumes_total{C}[$__rate_interval]))", "{{result}}")],
                runbooks=["OdinResumesFailing", "OdinEpochChanged"],
            ),
        ],
    ),
    (
        "From NATS",
        [
            Panel(
                "Connected, stale",
                "Each gateway's connection to NATS, and whether its clients were told of trouble.",
                "none",
                [
                    ("odin_gateway_nats_connected{C}", "{{instance}} connected"),
                    ("odin_gateway_stale{C}", "{{instance}} stale"),
                ],
                runbooks=["OdinGatewayCutFromNats", "OdinDataStale"],
            ),
            Panel(
                "Losses on the way, repaired",
                "Holes in live data and what audits found. Clients miss nothing.",
                "cps",
                [
                    (
                        "sum by (instance) (rate(odin_gateway_chain_gaps_total{C}[$__rate_interval]))",
                        "{{instance}} holes",
                    ),
                    (
                        "sum by (instance) (rate(odin_gateway_audit_repairs_total{C}[$__rate_interval]))",
                        "{{instance}} audits",
                    ),
                ],
                runbooks=["OdinChainGaps", "OdinAuditRepairs", "OdinAuditsFailing"],
            ),
            Panel(
                "Routes tried, messages dropped",
                "In a quarter of an hour.",
                "short",
                [
                    ("increase(odin_gateway_route_changes_total{C}[15m])", "{{instance}} routes"),
                    ("increase(odin_gateway_nats_slow_consumer_events_total{C}[15m])", "{{instance}} slow consumer"),
                ],
                runbooks=["OdinNatsRouteChanges", "OdinNatsClientSlow"],
            ),
        ],
    ),
    (
        "Among gateways",
        [
            Panel(
                "Others each gateway hears of",
                "One less than there are.",
                "none",
                [("odin_gateway_cluster_peers{C}", "{{instance}}")],
                runbooks=["OdinGossipDisagrees"],
            ),
            Panel(
                "Revocations in force",
                "The same on all gateways.",
                "short",
                [("odin_gateway_revocations{C}", "{{instance}}")],
                runbooks=["OdinRevocationsDiffer", "OdinRevocationsNearLimit", "OdinControlLost"],
            ),
            Panel(
                "Builds",
                "More than one while a rollout lasts.",
                "none",
                [("count by (version, revision) (odin_gateway_build_info{C})", "{{version}} {{revision}}")],
                stacked=True,
                runbooks=["OdinVersionsDiffer"],
            ),
        ],
    ),
]
