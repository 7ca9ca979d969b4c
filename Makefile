# The contents page of every task. CI runs these same targets (`.ci/run`).

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

CARGO ?= cargo
# LOCKED=--locked refuses to change Cargo.lock; CI sets it.
LOCKED ?=
NATS_URL ?= nats://127.0.0.1:4222
REPLICAS ?= 1
FUZZ_SECONDS ?= 60
FUZZ_TARGETS ?= frame_decode client_message
# More arguments for what a target runs: make demo ARGS='--seconds 10'
ARGS ?=

BINARIES := -p ws-gateway -p odin-publisher -p odin-client -p odin-devkit -p odin-chaos
RELEASE := $(or $(CARGO_TARGET_DIR),target)/release

.PHONY: help build demo test fmt fmt-check lint test-rust docs chaos door bench provision fuzz autobahn clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-10s  %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## Build the programs: ws-gateway, odin-publisher, odin, odin-devkit, odin-chaos
	$(CARGO) build $(LOCKED) --release --bins $(BINARIES)

demo: build ## Live prices on this machine: NATS, two gateways, simulator, client; Ctrl-C stops all
	@exec $(RELEASE)/odin-devkit demo $(ARGS)

test: fmt-check lint test-rust docs ## Everything CI runs, each step below

fmt: ## Format the code
	$(CARGO) fmt --all

fmt-check: ## Check the format
	$(CARGO) fmt --all -- --check

lint: ## Clippy, warnings are errors
	$(CARGO) clippy $(LOCKED) --workspace --all-targets -- -D warnings

test-rust: ## Unit and integration tests, on real nats-servers
	$(CARGO) test $(LOCKED) --workspace

docs: ## API documentation, warnings are errors
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc $(LOCKED) --workspace --no-deps

chaos: build ## Break everything under load, and prove that nothing was lost: ARGS='--rounds 6 --seed 1'
	$(RELEASE)/odin-chaos run $(ARGS)

door: build ## Slow handshakes and a flood of connects beside good clients: ARGS='--pin 0'
	$(RELEASE)/odin-chaos door $(ARGS)

bench: ## Measure against the figures of docs/performance.md (see loadtest/README.md)
	loadtest/bench.sh $(ARGS)

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
	rm -rf .tools .devkit
