#!/usr/bin/env python3
"""What slow readers cost: w4 of the load harness, on an `all` feed and on a `latest` feed, with and without slow ones.

Run by slow_readers.sh in a network namespace of its own, where the kernel's socket buffers do not swallow the stall.
"""
import importlib.util, json, os, pathlib, sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
spec = importlib.util.spec_from_file_location("run", pathlib.Path(os.environ["BENCH"]) / "run.py")
run = importlib.util.module_from_spec(spec)
spec.loader.exec_module(run)

TO = "--to js --stream ODIN --topic odin.tokens.T{n}.price"


def peer(mode):
    subscribe = f'{{"type":"subscribe","id":1,"channels":[{{"channel":"{{topics}}","mode":"{mode}"}}]}}'
    server = f"{ROOT}/loadtest/serve.sh {ROOT}/target/release/ws-gateway"
    client = (f"ws://127.0.0.1:8080/ws --protocol odin.v1.json --topic price:T{{n}} --join '\",\"' "
              f"--step 'send:{subscribe}' --step wait:subscribed")
    return [server, [8080], client, TO, None]


clients, topics, each, rate, seconds, slow, pad = run.LOADS["w4"]
run.LOADS["none slow"] = (clients, topics, each, rate, seconds, slow.replace("--slow 10", "--slow 0"), pad)
run.PEERS["all"], run.PEERS["latest"] = peer("all"), peer("latest")
run.RUN.mkdir(exist_ok=True)
print("| mode | slow clients | largest RSS, KiB | per slow client, B | healthy p50, ms | healthy p99, ms | lost | twice | behind | gone | slow: lost | slow: behind |")
print("|---|---|---|---|---|---|---|---|---|---|---|---|")
for repeat in range(int(os.environ.get("REPEATS", "1"))):
    for mode in ("all", "latest"):
        rss = {}
        for load in ("none slow", "w4"):
            result = run.measure(mode, load)
            healthy, slow_ones, server = result["healthy"], result.get("slow") or {}, result["server"]
            rss[load] = server["rss_max_kb"]
            if os.environ.get("RAW"):
                print(json.dumps(result), file=sys.stderr)
            count = 0 if load == "none slow" else clients // 10
            grown = "" if not count else round((rss["w4"] - rss["none slow"]) * 1024 / count)
            latency = healthy["latency_us"]
            print(f"| {mode} | {count} | {rss[load]} | {grown} | {latency['p50'] / 1000:.2f} "
                  f"| {latency['p99'] / 1000:.2f} | {healthy['lost']} | {healthy['dup']} | {healthy['behind']} "
                  f"| {result['disconnects']} | {slow_ones.get('lost', '')} | {slow_ones.get('behind', '')} |", flush=True)
