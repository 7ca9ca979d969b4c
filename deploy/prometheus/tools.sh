#!/usr/bin/env bash
# Puts Debian's prometheus and promtool below .tools/ where there are none. Unpacked, not installed: the package would start
# a Prometheus that nobody asked for.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

say() { printf 'deploy/prometheus/tools.sh: %s\n' "$*" >&2; }

export PATH="$PATH:$PWD/.tools/prometheus/usr/bin"
if command -v prometheus >/dev/null && command -v promtool >/dev/null; then
    exit 0
fi
if ! command -v apt-get >/dev/null; then
    say "no prometheus and promtool on the PATH, and no apt-get to get them with"
    exit 1
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
if ! apt-get download -q prometheus >/dev/null 2>&1; then
    if [ "$(id -u)" -eq 0 ]; then apt-get update -q; else sudo apt-get update -q; fi
    apt-get download -q prometheus
fi
say "unpacking $(echo prometheus_*.deb) into .tools/prometheus"
dpkg-deb -x prometheus_*.deb "$OLDPWD/.tools/prometheus"
