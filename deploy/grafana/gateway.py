"""One gateway, or several beside each other: its shards, memory, sockets, and its way to NATS."""

from panels import Panel

NAME, TITLE = "gateway", "odin gateway"
DESCRIPTION = "Choose gateways above: threads, memory, sockets, and what the bus does."


def rate(metric, by="instance"):
    return f"sum by ({by}) (rate({metric}{{I}}[$__rate_interval]))"


def quantiles(metric, *qs):
    return [
        (
            f"histogram_quantile({q}, sum by (instance, le) (rate({metric}_bucket{{I}}[$__rate_interval])))",
            "{{instance}} p" + f"{q * 100:g}",
        )
        for q in qs
    ]


YES = {0: "no", 1: "yes"}

ROWS = [
    (
        "Now",
        [
            Panel(
                "Ready",
                "Whether it takes new clients.",
                "none",
                [("odin_gateway_ready{I}", "{{instance}}")],
                kind="stat",
                width=4,
                names=YES,
                runbooks=["OdinGatewayNotReady"],
            ),
            Panel(
                "Draining",
                "Whether it leaves.",
                "none",
                [("odin_gateway_draining{I}", "{{instance}}")],
                kind="stat",
                width=4,
                names=YES,
                runbooks=["OdinDrainStuck"],
            ),
            Panel(
                "Up for",
                "Time since the process began.",
                "s",
                [("odin_gateway_uptime_seconds{I}", "{{instance}}")],
                kind="stat",
                width=4,
                runbooks=["OdinGatewayRestarts", "OdinGatewayDown"],
            ),
            Panel(
                "Room used",
                "Connections beside `limits.connections`.",
                "percentunit",
                [("instance:odin_connections:utilisation{I}", "{{instance}}")],
                kind="stat",
                width=4,
                most=1,
                steps=[(0.7, "yellow"), (0.85, "red")],
                runbooks=["OdinConnectionsNearLimit"],
            ),
            Panel(
                "CPU for each delivery",
                "All CPU time of five minutes shared among its deliveries. With few clients it says little.",
                "s",
                [("instance:odin_cpu_per_delivery:seconds5m{I}", "{{instance}}")],
                kind="stat",
                width=4,
            ),
            Panel(
                "Memory for each connection",
                "All memory shared among its connections. With few clients it says little.",
                "bytes",
                [("odin_gateway_resident_memory_bytes{I} / (odin_gateway_connections{I} > 0)", "{{instance}}")],
                kind="stat",
                width=4,
                runbooks=["OdinMemoryNearLimit"],
            ),
        ],
    ),
    (
        "Shards",
        [
            Panel(
                "Turn of a shard's loop",
                "Everybody on the shard waits for as long as a turn takes.",
                "s",
                quantiles("odin_gateway_shard_turn_seconds", 0.5, 0.99),
                steps=[(0.1, "red")],
                runbooks=["OdinShardLoopLag"],
            ),
            Panel(
                "Turns",
                "What is spread: many short turns, or few long ones.",
                "s",
                [("sum by (le) (increase(odin_gateway_shard_turn_seconds_bucket{I}[$__rate_interval]))", "{{le}}")],
                kind="heatmap",
                runbooks=["OdinShardLoopLag"],
            ),
            Panel(
                "CPU",
                "Cores used.",
                "none",
                [("rate(odin_gateway_process_cpu_seconds_total{I}[$__rate_interval])", "{{instance}}")],
            ),
            Panel(
                "Queue from the bus",
                "Bytes waiting for shards; `feeds.shard_queue_bytes` is the limit of one.",
                "bytes",
                [("odin_gateway_shard_queue_bytes{I}", "{{instance}}")],
                runbooks=["OdinShardQueueOverruns"],
            ),
            Panel(
                "Queue overruns",
                "In a quarter of an hour.",
                "short",
                [
                    ("increase(odin_gateway_shard_overruns_total{I}[15m])", "{{instance}} as the bus saw it"),
                    ("increase(odin_gateway_shard_queue_overruns_total{I}[15m])", "{{instance}} as shards saw it"),
                ],
                runbooks=["OdinShardQueueOverruns"],
            ),
            Panel(
                "Turns and threads",
                "Turns of all shards each second; threads of the process.",
                "short",
                [
                    (rate("odin_gateway_shard_turn_seconds_count"), "{{instance}} turns"),
                    ("odin_gateway_threads{I}", "{{instance}} threads"),
                ],
            ),
        ],
    ),
    (
        "Memory and files",
        [
            Panel(
                "Memory",
                "In RAM, and the parts that have a bound of their own.",
                "bytes",
                [
                    ("odin_gateway_resident_memory_bytes{I}", "{{instance}} all"),
                    ("odin_gateway_ring_bytes{I}", "{{instance}} rings"),
                    ("odin_gateway_catch_up_bytes{I}", "{{instance}} pages"),
                ],
                runbooks=["OdinMemoryNearLimit", "OdinMemoryGrows"],
            ),
            Panel(
                "File descriptors",
                "Open ones beside the limit of the process.",
                "percentunit",
                [("odin_gateway_open_file_descriptors{I} / odin_gateway_max_file_descriptors{I}", "{{instance}}")],
                most=1,
                steps=[(0.85, "red")],
                runbooks=["OdinFileDescriptorsNearLimit"],
            ),
            Panel(
                "Connections",
                "Open, signed in, by HTTP, and handshakes under way.",
                "short",
                [
                    ("odin_gateway_connections{I}", "{{instance}} open"),
                    ("odin_gateway_user_connections{I}", "{{instance}} signed in"),
                    ("odin_gateway_http_connections{I}", "{{instance}} HTTP"),
                    ("odin_gateway_handshakes_pending{I}", "{{instance}} handshakes"),
                ],
            ),
        ],
    ),
    (
        "Sockets",
        [
            Panel(
                "Deliveries",
                "Updates written, by format.",
                "ops",
                [(rate("odin_gateway_deliveries_total", "instance, format"), "{{instance}} {{format}}")],
            ),
            Panel(
                "Deliveries in one write",
                "More than one where updates wait for each other: under load that is meant.",
                "none",
                [(rate("odin_gateway_deliveries_total") + " / " + rate("odin_gateway_writes_total"), "{{instance}}")],
            ),
            Panel(
                "Writes that were blocked",
                "Share of writes that took less than was offered: the client is slower than its data.",
                "percentunit",
                [
                    (
                        rate("odin_gateway_writes_blocked_total") + " / " + rate("odin_gateway_writes_total"),
                        "{{instance}}",
                    )
                ],
                most=1,
                runbooks=["OdinReadersBehind"],
            ),
            Panel(
                "Bytes",
                "To and from clients, frames included.",
                "Bps",
                [
                    (rate("odin_gateway_sent_bytes_total"), "{{instance}} sent"),
                    (rate("odin_gateway_received_bytes_total"), "{{instance}} received"),
                ],
            ),
            Panel(
                "Slow readers",
                "Connections behind, and values they skipped each second.",
                "short",
                [
                    ("odin_gateway_connections_behind{I}", "{{instance}} behind"),
                    (rate("odin_gateway_merged_total"), "{{instance}} skipped"),
                ],
                runbooks=["OdinReadersBehind"],
            ),
            Panel(
                "Heartbeat",
                "Pings sent and pongs that came.",
                "cps",
                [
                    (rate("odin_gateway_pings_sent_total"), "{{instance}} pings"),
                    (rate("odin_gateway_pongs_received_total"), "{{instance}} pongs"),
                ],
            ),
        ],
    ),
    (
        "Bus",
        [
            Panel(
                "Live messages",
                "From NATS, and publications handed to shards.",
                "ops",
                [
                    (rate("odin_gateway_live_messages_total"), "{{instance}} live"),
                    (rate("odin_gateway_publications_delivered_total"), "{{instance}} to shards"),
                    (rate("odin_gateway_duplicates_dropped_total"), "{{instance}} had before"),
                ],
            ),
            Panel(
                "Live bytes",
                "Payload of live messages.",
                "Bps",
                [(rate("odin_gateway_live_bytes_total"), "{{instance}}")],
            ),
            Panel(
                "Reads of the stream",
                "Direct Gets and what they were for.",
                "ops",
                [
                    (rate("odin_gateway_direct_gets_total"), "{{instance}} reads"),
                    (rate("odin_gateway_direct_get_errors_total"), "{{instance}} failed"),
                    (rate("odin_gateway_filled_messages_total"), "{{instance}} filled a hole"),
                    (rate("odin_gateway_look_backs_total"), "{{instance}} look back"),
                ],
                runbooks=["OdinAuditsFailing"],
            ),
            Panel(
                "Audits",
                "Questions whether feeds have everything, and barriers.",
                "ops",
                [
                    (rate("odin_gateway_audits_total"), "{{instance}} audits"),
                    (rate("odin_gateway_audit_failures_total"), "{{instance}} failed"),
                    (rate("odin_gateway_barriers_total"), "{{instance}} barriers"),
                    (rate("odin_gateway_barrier_errors_total"), "{{instance}} barriers failed"),
                ],
                runbooks=["OdinAuditsFailing"],
            ),
            Panel(
                "Feeds",
                "Open ones, and those of wide patterns.",
                "short",
                [
                    ("odin_gateway_feeds{I}", "{{instance}} feeds"),
                    ("odin_gateway_wide_feeds{I}", "{{instance}} wide"),
                    ("odin_gateway_shard_feeds{I}", "{{instance}} on shards"),
                ],
                runbooks=["OdinWideConsumersRestart"],
            ),
            Panel(
                "Feeds opened",
                "And how often opening had to be repeated.",
                "cps",
                [
                    (rate("odin_gateway_feed_opens_total"), "{{instance}} opened"),
                    (rate("odin_gateway_feed_joins_total"), "{{instance}} joined"),
                    (rate("odin_gateway_feed_open_retries_total"), "{{instance}} repeated"),
                ],
                runbooks=["OdinFeedsNotOpening"],
            ),
        ],
    ),
    (
        "Faults",
        [
            Panel(
                "Panics and lost log lines",
                "In an hour.",
                "short",
                [
                    ("increase(odin_gateway_panics_total{I}[1h])", "{{instance}} panics"),
                    ("increase(odin_gateway_log_lines_lost_total{I}[1h])", "{{instance}} log lines"),
                ],
                runbooks=["OdinPanic", "OdinLogLinesLost"],
            ),
            Panel(
                "Reloads and orders",
                "In an hour: reloads of the configuration, orders carried out, requests without the admin token.",
                "short",
                [
                    (
                        "sum by (instance, result) (increase(odin_gateway_config_reloads_total{I}[1h]))",
                        "{{instance}} reload {{result}}",
                    ),
                    ("increase(odin_gateway_orders_total{I}[1h])", "{{instance}} orders"),
                    ("increase(odin_gateway_admin_refused_total{I}[1h])", "{{instance}} refused"),
                ],
                runbooks=["OdinConfigReloadFailed", "OdinAdminRefused"],
            ),
            Panel(
                "Dropped publications",
                "What publishers sent and nobody can get.",
                "cps",
                [
                    (rate("odin_gateway_payload_invalid_total"), "{{instance}} invalid"),
                    (rate("odin_gateway_payload_too_big_total"), "{{instance}} too big"),
                    (rate("odin_gateway_payload_ahead_total"), "{{instance}} from the future"),
                    (rate("odin_gateway_unmapped_total"), "{{instance}} unmapped"),
                ],
                runbooks=[
                    "OdinPublicationsInvalid",
                    "OdinPublicationsTooBig",
                    "OdinPublicationsUnmapped",
                    "OdinPublisherClockSkew",
                ],
            ),
        ],
    ),
]
