# Shortcuts; each target is one command that can be typed as well.

.DEFAULT_GOAL := help
.PHONY: build test bench demo lint help

build: ## the release binary, target/release/tidegate
	cargo build --release

test: ## installs what the tests need (Debian 12: apt, PyPI, npm), then runs them all
	@tests/run.sh

bench: ## the benchmarks, short: docs/benchmarks.md and its plots (LONG=1: the sizes of the marks, more than an hour)
	cargo run --quiet --release -p tidegate-bench --example report -- $(if $(LONG),--long)

demo: ## the gateway with a page to look at, on loopback (debug build)
	cargo demo

lint: ## formatting, clippy, links of the documentation, shellcheck
	cargo fmt --check
	cargo clippy --quiet --all-targets -- -D warnings
	cargo clippy --quiet --no-default-features --lib --example echo -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --quiet --no-deps --document-private-items
	shellcheck -x .ci/run tests/*.sh tests/house/documents/*.sh tuning/tune tuning/wanted.bash

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-6s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
