"""Stands in for prometheus-nats-exporter where that program is not at hand.

It asks the same addresses of real NATS servers and names what they say by the exporter's rules (release 0.20: each
number of /varz flattened with `_`, the series of /healthz and /jsz by name), so a field that a server does not have
is no series here either. What it does not offer: connz, accountz, leafz, gatewayz, consumers one by one.
"""

import json
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# Series of /jsz: name -> path in the server's answer, or in that of one stream.
SERVER = {
    "total_streams": "streams",
    "total_consumers": "consumers",
    "total_messages": "messages",
    "total_message_bytes": "bytes",
    "max_memory": "config.max_memory",
    "max_storage": "config.max_storage",
}
STREAM = {
    "total_messages": "state.messages",
    "total_bytes": "state.bytes",
    "first_seq": "state.first_seq",
    "last_seq": "state.last_seq",
    "consumer_count": "state.consumer_count",
    "subject_count": "state.num_subjects",
    "limit_bytes": "config.max_bytes",
    "limit_messages": "config.max_msgs",
}


def ask(url):
    """The JSON of an address, or None; an unhealthy server answers 503 with JSON."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        return json.load(error)
    except (OSError, ValueError):
        return None


def at(value, path):
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def numbers(value, path=()):
    """Every number in nested objects with the names on the way to it."""
    for key, inner in value.items():
        if isinstance(inner, dict):
            yield from numbers(inner, (*path, key))
        elif isinstance(inner, (int, float)) and not isinstance(inner, bool):
            yield "_".join((*path, key)).replace("/", "_").replace("__", "_"), inner


def flag(is_so):
    return "true" if is_so else "false"


class Exporter:
    """Serves /metrics of some monitoring addresses until it is closed."""

    def __init__(self, port, monitors):
        exporter = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                body = "".join(f"{line}\n" for line in exporter.lines()).encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.monitors = monitors
        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def lines(self):
        """One line for each sample; samples of one name stand together, as the format wants."""
        samples = {}
        for monitor in self.monitors:
            for name, labels, value in self.samples(monitor):
                inside = ",".join(f'{k}="{v}"' for k, v in {"server_id": monitor, **labels}.items())
                samples.setdefault(name, []).append(f"{name}{{{inside}}} {value}")
        for name, lines in samples.items():
            yield f"# TYPE {name} gauge"
            yield from lines

    def samples(self, monitor):
        health = ask(f"{monitor}/healthz")
        status = "unreachable" if health is None else health.get("status", "")
        if health is not None:
            yield "gnatsd_healthz_status", {}, int(status != "ok")
        yield "gnatsd_healthz_status_value", {"value": status}, int(status == "ok")
        server = ask(f"{monitor}/varz")
        routes = ask(f"{monitor}/routez")
        jetstream = ask(f"{monitor}/jsz?consumers=true&config=true&raft=true")
        if server is None or jetstream is None:
            return
        for name, value in numbers(server):
            yield f"gnatsd_varz_{name}", {}, value
        if routes is not None:
            yield "gnatsd_routez_num_routes", {}, routes.get("num_routes", 0)
        name, meta = server["server_name"], jetstream.get("meta_cluster") or {}
        labels = {
            "server_name": name,
            "cluster": meta.get("name", ""),
            "domain": at(jetstream, "config.domain") or "",
            "meta_leader": meta.get("leader", ""),
            "is_meta_leader": flag(not meta or meta.get("leader") == name),
        }
        yield "jetstream_server_jetstream_disabled", labels, int(bool(jetstream.get("disabled")))
        for series, path in SERVER.items():
            yield f"jetstream_server_{series}", labels, at(jetstream, path) or 0
        for account in jetstream.get("account_details") or []:
            for stream in account.get("stream_detail") or []:
                leader = at(stream, "cluster.leader") or ""
                more = {
                    "account": account["name"],
                    "account_id": account["id"],
                    "stream_name": stream["name"],
                    "stream_leader": leader,
                    "is_stream_leader": flag("cluster" not in stream or leader == name),
                }
                for series, path in STREAM.items():
                    value = at(stream, path)
                    if value is not None:
                        yield f"jetstream_stream_{series}", {**labels, **more}, value
