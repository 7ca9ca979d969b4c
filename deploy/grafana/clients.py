"""What clients notice: can they come in, do they get what they ask for, can they go on where they stopped."""

from panels import Panel

NAME, TITLE = "clients", "odin clients"
DESCRIPTION = "The same cluster, seen from outside."


def by(label, metric, extra=""):
    return f"sum by ({label}) (rate({metric}{{C{extra}}}[$__rate_interval]))"


ROWS = [
    (
        "Now",
        [
            Panel(
                "Handshakes that fail by us",
                "Share of an hour; the objective is 0.1 %.",
                "percentunit",
                [("max(cluster:odin_handshakes_failed:ratio_rate1h{C})", "failed")],
                kind="stat",
                width=4,
                steps=[(0.001, "yellow"), (0.0144, "red")],
                runbooks=["OdinHandshakeBudgetFast", "OdinHandshakeBudgetSlow"],
            ),
            Panel(
                "Handshake, p95",
                "From accept to the end.",
                "s",
                [("max(cluster:odin_handshake_duration_seconds:p95_5m{C})", "p95")],
                kind="stat",
                width=4,
                steps=[(0.25, "yellow"), (1, "red")],
                runbooks=["OdinHandshakesSlow"],
            ),
            Panel(
                "Resumes that recover",
                "Share of subscriptions with a cursor that go on where they stopped.",
                "percentunit",
                [
                    (
                        'sum(increase(odin_gateway_resumes_total{C,result="recovered"}[$__range])) / sum(increase(odin_gateway_resumes_total{C}[$__range]))',
                        "recovered",
                    )
                ],
                kind="stat",
                width=4,
                most=1,
                runbooks=["OdinResumesFailing"],
            ),
            Panel(
                "Time stale",
                "Share of the time shown in which the worst gateway's clients were told that data may be old.",
                "percentunit",
                [("max(avg_over_time(odin_gateway_stale{C}[$__range]))", "stale")],
                kind="stat",
                width=4,
                most=1,
                steps=[(0.001, "yellow"), (0.01, "red")],
                runbooks=["OdinDataStale"],
            ),
            Panel(
                "Gaps",
                "Gap messages in the time shown: losses that were announced.",
                "short",
                [("sum(increase(odin_gateway_gaps_announced_total{C}[$__range]))", "gaps")],
                kind="stat",
                width=4,
                steps=[(1, "yellow")],
                runbooks=["OdinGapsAnnounced"],
            ),
            Panel(
                "Readers behind",
                "Share of connections slower than their data.",
                "percentunit",
                [("sum(odin_gateway_connections_behind{C}) / sum(odin_gateway_connections{C})", "behind")],
                kind="stat",
                width=4,
                most=1,
                steps=[(0.05, "yellow"), (0.1, "red")],
                runbooks=["OdinReadersBehind"],
            ),
        ],
    ),
    (
        "Coming in",
        [
            Panel(
                "Handshakes",
                "Those that became a connection, and those that did not.",
                "cps",
                [
                    ("sum(rate(odin_gateway_handshakes_ok_total{C}[$__rate_interval]))", "ok"),
                    ("sum(rate(odin_gateway_handshakes_refused_total{C}[$__rate_interval]))", "refused"),
                ],
                runbooks=["OdinHandshakesRefused"],
            ),
            Panel(
                "Refused, by reason",
                "docs/operations/front-door.md says what each means.",
                "cps",
                [(by("reason", "odin_gateway_handshakes_refused_total"), "{{reason}}")],
                stacked=True,
                runbooks=["OdinHandshakesRefused"],
            ),
            Panel(
                "Duration of handshakes",
                "From accept to the end.",
                "s",
                [
                    (
                        "sum by (le) (increase(odin_gateway_handshake_duration_seconds_bucket{C}[$__rate_interval]))",
                        "{{le}}",
                    )
                ],
                kind="heatmap",
                runbooks=["OdinHandshakesSlow"],
            ),
            Panel(
                "Sign-ins",
                "Attempts by result.",
                "cps",
                [(by("result", "odin_gateway_auths_total"), "{{result}}")],
                runbooks=["OdinAuthFailures", "OdinAuthUnavailable"],
            ),
            Panel(
                "Public keys",
                "How long ago each gateway read them; zero where there are none to read.",
                "s",
                [("odin_gateway_jwks_age_seconds{C}", "{{instance}}")],
                steps=[(1800, "red")],
                runbooks=["OdinJwksStale"],
            ),
            Panel(
                "Session service",
                "Questions by result.",
                "cps",
                [(by("result", "odin_gateway_callouts_total"), "{{result}}")],
                runbooks=["OdinCalloutsFailing"],
            ),
        ],
    ),
    (
        "Being there",
        [
            Panel(
                "Stale",
                "Gateways that have told their clients that data may be old.",
                "none",
                [("odin_gateway_stale{C}", "{{instance}}")],
                most=1,
                runbooks=["OdinDataStale"],
            ),
            Panel(
                "Errors sent",
                "By code. `unavailable`, `internal` and `auth_unavailable` are ours.",
                "cps",
                [(by("code", "odin_gateway_errors_sent_total"), "{{code}}")],
                stacked=True,
                runbooks=["OdinErrorsToClients"],
            ),
            Panel(
                "Gaps announced",
                "By gateway.",
                "cps",
                [(by("instance", "odin_gateway_gaps_announced_total"), "{{instance}}")],
                runbooks=["OdinGapsAnnounced"],
            ),
            Panel(
                "Messages from clients",
                "By format.",
                "cps",
                [(by("format", "odin_gateway_messages_received_total"), "{{format}}")],
                stacked=True,
            ),
            Panel(
                "Questions by HTTP",
                "Polls, last values, histories, publications; and those not answered yet.",
                "short",
                [
                    ("sum(rate(odin_gateway_http_questions_total{C}[$__rate_interval]))", "each second"),
                    ("sum(odin_gateway_http_questions_waiting{C})", "waiting"),
                ],
            ),
            Panel(
                "Publications of clients",
                "What clients publish and the stream has stored.",
                "cps",
                [("sum(rate(odin_gateway_client_publications_total{C}[$__rate_interval]))", "stored")],
            ),
        ],
    ),
    (
        "Leaving and coming back",
        [
            Panel(
                "Closes, by reason",
                "`drain`, `normal`, `going_away` are in order.",
                "cps",
                [(by("reason", "odin_gateway_connections_closed_total"), "{{reason}}")],
                stacked=True,
                runbooks=["OdinReconnectStorm"],
            ),
            Panel(
                "Resumes, by result",
                "All but `recovered` begin anew.",
                "cps",
                [(by("result", "odin_gateway_resumes_total"), "{{result}}")],
                stacked=True,
                runbooks=["OdinResumesFailing"],
            ),
            Panel(
                "Slots and limits of users",
                "Slots of strict limits held, and those that could not be kept.",
                "short",
                [
                    ("sum(odin_gateway_user_slots{C})", "held"),
                    ("sum(increase(odin_gateway_user_slot_errors_total{C}[15m]))", "failed in a quarter of an hour"),
                ],
                runbooks=["OdinUserSlotErrors"],
            ),
        ],
    ),
    (
        "Load balancer",
        [
            Panel(
                "Connections at HAProxy",
                "Beside its `maxconn`.",
                "percentunit",
                [("haproxy_process_current_connections{C} / haproxy_process_max_connections{C}", "{{instance}}")],
                most=1,
                steps=[(0.85, "red")],
                runbooks=["OdinBalancerNearLimit", "OdinBalancerDown"],
            ),
            Panel(
                "Gateways it sends to",
                "Servers that are up for HAProxy.",
                "none",
                [("haproxy_backend_active_servers{C}", "{{instance}} {{proxy}}")],
                runbooks=["OdinBalancerNoServers", "OdinBalancerServerDown"],
            ),
            Panel(
                "Sessions and errors",
                "New sessions of backends, connects that failed, and answers 5xx.",
                "cps",
                [
                    (
                        "sum by (proxy) (rate(haproxy_backend_sessions_total{C}[$__rate_interval]))",
                        "{{proxy}} sessions",
                    ),
                    (
                        "sum by (proxy) (rate(haproxy_backend_connection_errors_total{C}[$__rate_interval]))",
                        "{{proxy}} connects failed",
                    ),
                    (
                        'sum by (proxy) (rate(haproxy_backend_http_responses_total{C,code="5xx"}[$__rate_interval]))',
                        "{{proxy}} 5xx",
                    ),
                ],
                runbooks=["OdinBalancerConnectErrors"],
            ),
        ],
    ),
]
