"""The NATS servers and the streams, by prometheus-nats-exporter, and beside it what gateways notice of them."""

from panels import Panel

NAME, TITLE = "nats", "odin NATS"
DESCRIPTION = "Servers, routes and streams. Needs prometheus-nats-exporter -varz -healthz -routez -jsz=all."

ROWS = [
    (
        "Now",
        [
            Panel(
                "Servers healthy",
                "Those that the exporter reaches and that say they are.",
                "none",
                [('count(gnatsd_healthz_status_value{C,value="ok"} == 1) or vector(0)', "healthy")],
                kind="stat",
                width=4,
                runbooks=["OdinNatsServerDown", "OdinNatsServerUnhealthy", "OdinNatsExporterDown"],
            ),
            Panel(
                "Streams with a leader",
                "Streams that can store.",
                "none",
                [('count(count by (stream_name) (jetstream_stream_last_seq{C,is_stream_leader="true"}))', "led")],
                kind="stat",
                width=4,
                runbooks=["OdinNatsQuorumLost"],
            ),
            Panel(
                "Streams without a leader",
                "Nothing can be stored in them.",
                "none",
                [
                    (
                        'count(count by (stream_name) (jetstream_stream_last_seq{C}) unless '
                        'count by (stream_name) (jetstream_stream_last_seq{C,is_stream_leader="true"})) or vector(0)',
                        "without",
                    )
                ],
                kind="stat",
                width=4,
                steps=[(1, "red")],
                runbooks=["OdinNatsQuorumLost", "OdinNatsMetaLeaderLost"],
            ),
            Panel(
                "Largest lag of a copy",
                "Messages that a copy lacks.",
                "short",
                [("max(cluster_stream_server:odin_nats_replica_lag:messages{C})", "lag")],
                kind="stat",
                width=4,
                steps=[(200, "yellow"), (1000, "red")],
                runbooks=["OdinNatsReplicaLag"],
            ),
            Panel(
                "Fullest stream",
                "Bytes beside the stream's limit.",
                "percentunit",
                [("max(cluster_stream:odin_nats_stream_fill:max{C})", "full")],
                kind="stat",
                width=4,
                most=1,
                steps=[(0.8, "yellow"), (0.9, "red")],
                runbooks=["OdinNatsStreamNearLimit"],
            ),
            Panel(
                "Fullest server",
                "JetStream storage beside `max_file_store`.",
                "percentunit",
                [("max(gnatsd_varz_jetstream_stats_storage{C} / gnatsd_varz_jetstream_config_max_storage{C})", "full")],
                kind="stat",
                width=4,
                most=1,
                steps=[(0.7, "yellow"), (0.85, "red")],
                runbooks=["OdinNatsStorageNearLimit"],
            ),
        ],
    ),
    (
        "Streams",
        [
            Panel(
                "Messages stored",
                "By stream, as its leader counts.",
                "ops",
                [
                    (
                        'sum by (stream_name) (rate(jetstream_stream_last_seq{C,is_stream_leader="true"}[$__rate_interval]))',
                        "{{stream_name}}",
                    )
                ],
            ),
            Panel(
                "Bytes beside the limit",
                "Streams without a limit are left out.",
                "percentunit",
                [("cluster_stream:odin_nats_stream_fill:max{C}", "{{stream_name}}")],
                most=1,
                steps=[(0.9, "red")],
                runbooks=["OdinNatsStreamNearLimit"],
            ),
            Panel(
                "Lag of copies",
                "Some hundred on a busy stream are the time between two questions.",
                "short",
                [("cluster_stream_server:odin_nats_replica_lag:messages{C}", "{{stream_name}} {{server_id}}")],
                steps=[(1000, "red")],
                runbooks=["OdinNatsReplicaLag"],
            ),
            Panel(
                "Leaders",
                "Which server leads which stream.",
                "none",
                [
                    (
                        'count by (stream_name, server_name) (jetstream_stream_last_seq{C,is_stream_leader="true"})',
                        "{{stream_name}}: {{server_name}}",
                    )
                ],
                stacked=True,
                runbooks=["OdinNatsQuorumLost"],
            ),
            Panel(
                "Messages kept",
                "What clients can resume from, and subjects.",
                "short",
                [
                    ("max by (stream_name) (jetstream_stream_total_messages{C})", "{{stream_name}} messages"),
                    ("max by (stream_name) (jetstream_stream_subject_count{C})", "{{stream_name}} subjects"),
                ],
            ),
            Panel(
                "Consumers",
                "Gateways need none but those of wide patterns.",
                "short",
                [("max by (stream_name) (jetstream_stream_consumer_count{C})", "{{stream_name}}")],
                runbooks=["OdinWideConsumersRestart"],
            ),
        ],
    ),
    (
        "Servers",
        [
            Panel(
                "Routes",
                "Equal on all servers of a full mesh.",
                "none",
                [("gnatsd_varz_routes{C}", "{{server_id}}")],
                runbooks=["OdinNatsRouteLost"],
            ),
            Panel(
                "Slow consumers",
                "Connections cut in a quarter of an hour.",
                "short",
                [
                    ("increase(gnatsd_varz_slow_consumer_stats_clients{C}[15m])", "{{server_id}} clients"),
                    ("increase(gnatsd_varz_slow_consumer_stats_routes{C}[15m])", "{{server_id}} routes"),
                ],
                runbooks=["OdinNatsSlowConsumers"],
            ),
            Panel(
                "Connections",
                "Clients of each server: gateways have three or four each.",
                "short",
                [("gnatsd_varz_connections{C}", "{{server_id}}")],
            ),
            Panel(
                "Messages out",
                "To gateways and other servers.",
                "ops",
                [("rate(gnatsd_varz_out_msgs{C}[$__rate_interval])", "{{server_id}}")],
            ),
            Panel(
                "Bytes out",
                "To gateways and other servers.",
                "Bps",
                [("rate(gnatsd_varz_out_bytes{C}[$__rate_interval])", "{{server_id}}")],
            ),
            Panel("CPU", "Of one core, as the server tells it.", "percent", [("gnatsd_varz_cpu{C}", "{{server_id}}")]),
            Panel("Memory", "In RAM.", "bytes", [("gnatsd_varz_mem{C}", "{{server_id}}")]),
            Panel(
                "Storage",
                "JetStream's files beside `max_file_store`.",
                "percentunit",
                [
                    (
                        "gnatsd_varz_jetstream_stats_storage{C} / gnatsd_varz_jetstream_config_max_storage{C}",
                        "{{server_id}}",
                    )
                ],
                most=1,
                steps=[(0.85, "red")],
                runbooks=["OdinNatsStorageNearLimit"],
            ),
            Panel(
                "API errors",
                "Answers of JetStream that were errors. The barrier of gateways is not among them: it is a publish.",
                "cps",
                [("rate(gnatsd_varz_jetstream_stats_api_errors{C}[$__rate_interval])", "{{server_id}}")],
            ),
        ],
    ),
    (
        "As gateways see it",
        [
            Panel(
                "Connected",
                "1 while the connection for live data stands.",
                "none",
                [("odin_gateway_nats_connected{I}", "{{instance}}")],
                runbooks=["OdinGatewayCutFromNats"],
            ),
            Panel(
                "Reconnects and routes tried",
                "In a quarter of an hour.",
                "short",
                [
                    ("increase(odin_gateway_nats_reconnects_total{I}[15m])", "{{instance}} reconnects"),
                    ("increase(odin_gateway_route_changes_total{I}[15m])", "{{instance}} routes"),
                ],
                runbooks=["OdinNatsRouteChanges"],
            ),
            Panel(
                "Time from publisher to stream",
                "Mean, by the clocks of the publisher and of the stream's leader.",
                "s",
                [
                    (
                        'sum by (instance) (rate(odin_gateway_latency_seconds_sum{I,hop="publisher_to_stream"}[$__rate_interval])) / '
                        'sum by (instance) (rate(odin_gateway_latency_seconds_count{I,hop="publisher_to_stream"}[$__rate_interval]))',
                        "{{instance}}",
                    )
                ],
                runbooks=["OdinLatencyHigh", "OdinPublisherClockSkew"],
            ),
        ],
    ),
]
