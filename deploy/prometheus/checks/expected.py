"""What a healthy odin does not show, and why. Whatever is empty or fires beside these is a finding."""

# Selectors without a series.
NO_SERIES = {
    'gnatsd_healthz_status_value{value="unreachable"}': "every NATS server is reached",
    'ALERTS{alertstate="firing",alertname=~"Odin.*"}': "nothing fires, or it is the first second",
}

# Queries of dashboards without a result, by their title.
NO_DATA = {
    "Connections of gateways that drain": "no gateway drains",
    "Connects and closes": "reasons of which nobody left are not shown, and nobody leaves",
}

# Alerts whose expression holds here.
FIRES = {}
