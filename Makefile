# The contents page of every task. CI runs these same targets (`.ci/run`).

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

CARGO ?= cargo
NPM ?= npm
MVN ?= mvn
# LOCKED=--locked refuses to change Cargo.lock; CI sets it.
LOCKED ?=
NATS_URL ?= nats://127.0.0.1:4222
REPLICAS ?= 1
FUZZ_SECONDS ?= 60
FUZZ_TARGETS ?= frame_decode client_message
# More arguments for what a target runs: make demo ARGS='--seconds 10'
ARGS ?=

BINARIES := -p ws-gateway -p odin-publisher -p odin-client -p odin-devkit -p odin-chaos -p odin-swarm
RELEASE := $(or $(CARGO_TARGET_DIR),target)/release
DEBUG := $(abspath $(or $(CARGO_TARGET_DIR),target)/debug)
# Where the tests of the other languages find a whole odin.
CHROMIUM ?= /usr/bin/chromium
REAL_PARTS := ODIN_DEVKIT='$(DEBUG)/odin-devkit' ODIN_GATEWAY='$(DEBUG)/ws-gateway' CHROMIUM='$(CHROMIUM)' ODIN_CHROMIUM='$(CHROMIUM)'

.PHONY: help build page demo cluster test sizes compose-check test-deploy observability fmt fmt-check lint test-rust docs \
	test-programs test-typescript test-page test-java chart chart-sync chart-schemas drill chaos door bench load soak kill polling provision \
	fuzz autobahn clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-15s  %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## Build the programs: ws-gateway, odin-publisher, odin, odin-devkit, odin-chaos, odin-swarm
	$(CARGO) build $(LOCKED) --release --bins $(BINARIES)

# Without npm there is no page, and everything else is the same.
page: ## Build the live page, clients/web/dist, and the library it uses
	@if command -v $(NPM) >/dev/null; then $(MAKE) clients/web/dist/index.html; else echo 'no npm: the page is not built' >&2; fi

clients/typescript/node_modules/.package-lock.json: clients/typescript/package-lock.json
	cd clients/typescript && $(NPM) ci --no-audit --no-fund

clients/web/node_modules/.package-lock.json: clients/web/package-lock.json
	cd clients/web && $(NPM) ci --no-audit --no-fund

clients/web/dist/index.html: clients/web/node_modules/.package-lock.json \
		$(wildcard clients/web/*.* clients/web/public/* clients/web/src/*.* clients/web/src/*/*.* clients/typescript/src/*.ts)
	cd clients/web && $(NPM) run --silent build

demo: build page ## Live prices on this machine, in the terminal and on a page: NATS, two gateways, simulator; Ctrl-C stops all
	@exec $(RELEASE)/odin-devkit demo $(ARGS)

cluster: build page ## The topology of docker-compose.yml without Docker (needs haproxy): ARGS='--orders -- --drain-window 5s'
	@exec $(RELEASE)/odin-devkit cluster $(ARGS)

test: fmt-check lint sizes docs test-deploy test-rust observability test-typescript test-page test-java chart ## Everything CI runs, each step below

compose-check: build ## Check deploy/ and docker-compose.yml with the programs that read them (Go builds two of them, minutes)
	deploy/tools.sh
	deploy/check.py --gateway $(RELEASE)/ws-gateway $(ARGS)

test-deploy: ## The same with what is on this machine
	deploy/check.py

observability: test-programs ## Alerts, runbooks and dashboards against a real odin and a real Prometheus (needs HAProxy)
	deploy/prometheus/tools.sh
	deploy/prometheus/check.py --programs '$(DEBUG)' $(ARGS)

fmt: ## Format the code
	$(CARGO) fmt --all

fmt-check: ## Check the format
	$(CARGO) fmt --all -- --check

lint: ## Clippy, warnings are errors
	$(CARGO) clippy $(LOCKED) --workspace --all-targets -- -D warnings

test-rust: ## Unit and integration tests, on real nats-servers
	$(CARGO) test $(LOCKED) --workspace

sizes: ## The plans of docs/operations/scale.md are what loadtest/sizing.py computes
	python3 loadtest/sizing.py --check

docs: ## API documentation, warnings are errors
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc $(LOCKED) --workspace --no-deps

test-programs:
	$(CARGO) build $(LOCKED) --bins $(BINARIES)

test-typescript: test-programs clients/typescript/node_modules/.package-lock.json ## The TypeScript library: vectors, fake time, real gateways
	cd clients/typescript && $(REAL_PARTS) $(NPM) run --silent check && $(NPM) run --silent docs

test-page: test-programs clients/web/node_modules/.package-lock.json ## The live page in a real browser, on real gateways (needs Chromium)
	cd clients/web && $(REAL_PARTS) $(NPM) test --silent

test-java: test-programs ## The Java client: vectors, real gateways, the examination for clients (needs a JDK and Maven)
	$(MVN) --batch-mode --no-transfer-progress -q -f clients/java/pom.xml test \
		-Dodin.devkit='$(DEBUG)/odin-devkit' -Dodin.gateway='$(DEBUG)/ws-gateway'

drill: build ## Lose streams, disks and revocations with clients connected, and bring them back (needs the nats command line)
	PROGRAMS='$(abspath $(RELEASE))' loadtest/geographic/drill.py $(ARGS)

chart: test-programs ## The Helm chart: lint, schemas, tests, and a real gateway with what it renders (no cluster)
	ODIN_GATEWAY='$(DEBUG)/ws-gateway' ODIN_BINARIES='$(DEBUG)' helm/check.sh $(ARGS)

chart-sync: ## Copy alerts and dashboards of deploy/ into the chart, which can read nothing else
	helm/sync.sh

# After another version in helm/schemas/generate.py, or another kind in the chart.
chart-schemas:
	.tools/chart/bin/python helm/schemas/generate.py

chaos: build ## Break everything under load, and prove that nothing was lost: ARGS='--rounds 6 --seed 1'
	$(RELEASE)/odin-chaos run $(ARGS)

door: build ## Slow handshakes and a flood of connects beside good clients: ARGS='--pin 0'
	$(RELEASE)/odin-chaos door $(ARGS)

bench: ## Measure against the figures of docs/performance.md (see loadtest/README.md)
	loadtest/bench.sh $(ARGS)

load: build ## Load on a real odin by odin-swarm, k6 and Artillery, and a table of each: ARGS='--only swarm --clients 5000'
	loadtest/run.py $(ARGS)

soak: build ## Clients that come and go for SOAK_MINUTES (30): does anything grow that should not?
	loadtest/soak/soak.py $(ARGS)

kill: build ## Kill one of three gateways behind HAProxy under load: ARGS='--clients 30000 --processes 3 --balancers 4'
	loadtest/kill.py $(ARGS)

polling: build ## What polling costs beside streaming: the same users on the same feed
	loadtest/polling.py $(ARGS)

provision: build ## Create or verify the streams: NATS_URL=… REPLICAS=…
	$(RELEASE)/ws-gateway provision --nats-url '$(NATS_URL)' --stream-replicas '$(REPLICAS)' $(ARGS)

# cargo-fuzz drives libFuzzer, which needs a nightly compiler; both are installed when they are not there.
fuzz: export PATH := $(CURDIR)/.tools/cargo/bin:$(PATH)
fuzz: ## Fuzz the decoders, FUZZ_SECONDS=60 for each target
	$(CARGO) +nightly --version >/dev/null 2>&1 || rustup toolchain install nightly --profile minimal
	command -v cargo-fuzz >/dev/null || $(CARGO) install cargo-fuzz --locked --root .tools/cargo
	cd crates/protocol && for target in $(FUZZ_TARGETS); do \
		$(CARGO) +nightly fuzz run "$$target" -- -max_total_time=$(FUZZ_SECONDS); \
	done

autobahn: ## RFC 6455 conformance of the gateway's sockets: the Autobahn suite (needs a Python 2.7)
	$(CARGO) build $(LOCKED) --release -p ws-gateway --example echo --features echo
	@exec 3< <(exec $(RELEASE)/examples/echo 127.0.0.1:0); server=$$!; trap 'kill $$server' EXIT; \
	read -r _ _ url <&3; \
	python3 loadtest/autobahn/run.py --url "$$url" $(ARGS)

clean: ## Delete what was built and the tools installed by tests
	$(CARGO) clean
	rm -rf .tools .devkit clients/*/node_modules loadtest/artillery/node_modules clients/*/dist clients/java/target
