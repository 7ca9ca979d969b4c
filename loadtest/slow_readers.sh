#!/usr/bin/env bash
# What slow readers cost (w4 of the load harness): 10 % of 1,000 clients do not read for 24 of 30 seconds, on an `all`
# feed and on a `latest` feed, each beside the same run without slow ones. In a private network namespace, where the
# kernel holds 128 KB for a socket at most; without it, 1 MB for each would vanish into its buffers unseen.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

BENCH=$(cd "${BENCH:-../shared/bench}" && pwd)
export BENCH
export BENCH_DIR=${BENCH_DIR:-$PWD/target/bench}
export PEERS=${PEERS:-$PWD/.tools}
export BIN=$BENCH_DIR/build/release
mkdir -p "$BENCH_DIR"
exec unshare -n sh -c '
    ip link set lo up
    echo "4096 16384 131072" > /proc/sys/net/ipv4/tcp_wmem
    exec python3 loadtest/slow_readers.py'
