#!/usr/bin/env bash
# One gateway on one shard over an empty stream: the server that bench.sh measures.
# Any option of `ws-gateway serve` can follow the program.
set -euo pipefail
gateway=$1
shift
python3 "$(dirname "${BASH_SOURCE[0]}")/drop_stream.py"
"$gateway" provision
exec "$gateway" serve --listen 127.0.0.1:8080 --shards 1 "$@"
