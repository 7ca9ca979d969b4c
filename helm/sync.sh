#!/usr/bin/env bash
# Copies what belongs to others into the chart, for Helm reads nothing outside of it: alerts and dashboards of deploy/.
# With --check it changes nothing and fails when a copy differs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

RULES=deploy/prometheus/rules/odin.rules.yml
DASHBOARDS=deploy/grafana/dashboards
FILES=helm/odin/files

wanted=$(mktemp -d)
trap 'rm -rf "$wanted"' EXIT
mkdir "$wanted/dashboards"
# Where deploy/ has none yet, the chart's own stays: an empty one of each.
if [ -f "$RULES" ]; then cp "$RULES" "$wanted/rules.yaml"; else cp "$FILES/rules.yaml" "$wanted/"; fi
if compgen -G "$DASHBOARDS/*.json" >/dev/null; then
    cp "$DASHBOARDS"/*.json "$wanted/dashboards/"
else
    cp "$FILES"/dashboards/*.json "$wanted/dashboards/"
fi

if [ "${1:-}" = --check ]; then
    diff -r "$FILES" "$wanted" >&2 || { echo 'chart: helm/odin/files is not what deploy/ has: run `make chart-sync`' >&2; exit 1; }
else
    rm -rf "$FILES"
    mkdir -p "$FILES"
    cp -r "$wanted"/. "$FILES"
fi
