# tlswatch: the two commands to know are `make demo` (see it work) and `make test` (is it right?).
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

CARGO ?= cargo
# Captures that `make demo` shows.
DEMO ?= pcaps/demo.pcap
# Seconds that `make fuzz` gives each target.
FUZZ_SECONDS ?= 60

.PHONY: help setup build demo test features stress fuzz bench clean

help: ## Show this list
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1	\2/' | expand -t 20

setup: ## Install what the build needs and is missing (libpcap-dev, pkg-config, gcc)
	@.ci/packages gcc:gcc pkg-config:pkg-config libpcap-dev:pcap.pc

build: setup ## Build the release binary
	@$(CARGO) build --release --locked

demo: build ## Build in release, then read a capture: who talked to whom, with which certificate
	@# The summary is for terminals; script(1) makes one where there is none.
	@if [ -t 1 ] || ! command -v script > /dev/null; then target/release/tlswatch read $(DEMO) --roots pcaps/ca/public-roots.pem; \
	else script -qec "target/release/tlswatch read --quiet $(DEMO) --roots pcaps/ca/public-roots.pem" /dev/null < /dev/null; fi

test: setup ## Format check, clippy, tests and docs; with and without libpcap
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) test --locked
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --document-private-items
	$(MAKE) --no-print-directory features

features: setup ## Lints and the whole program without the feature `live`: reads files, needs no libpcap
	$(CARGO) clippy --locked --no-default-features --all-targets -- -D warnings
	$(CARGO) test --locked --no-default-features --test cli --test golden

stress: setup ## Floods of flows, handshakes and certificates: memory stays bounded, counters exact
	$(CARGO) test --profile stress --locked --test stress -- --nocapture

fuzz: setup ## Run every fuzz target for FUZZ_SECONDS (60); on stable Rust
	@command -v cargo-fuzz > /dev/null || $(CARGO) install --locked cargo-fuzz
	@for target in fuzz/fuzz_targets/*.rs; do \
		name=$$(basename "$$target" .rs); \
		echo "== $$name, $(FUZZ_SECONDS) s"; \
		RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run -s none "$$name" -- \
			-max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=2048 -timeout=10 -print_final_stats=1; \
	done

bench: setup ## Benches against their floors
	$(CARGO) bench --locked

clean: ## Remove what was built
	$(CARGO) clean
