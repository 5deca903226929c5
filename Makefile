# The front door. Each target works from a fresh clone: it installs what is missing first.
# Everything is an ordinary CMake project below (CMakePresets.json); this file only names the ways in.

.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
PREFIX ?= /usr/local
JOBS ?= $(shell nproc)
BESIDE ?= 2

help: ## What there is
	@echo "Weir: make <target>"
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/  \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 14

deps:
	@tools/install-deps.sh

build-faults-figures: deps-dev
	@cmake --preset release -DWEIR_BENCH=ON > /dev/null
	@cmake --build --preset release -j $(JOBS) --target weir faults_echo_job faults_generate \
		faults_follow faults_verify recovery_job

deps-dev:
	@tools/install-deps.sh --dev

build: deps ## Build the release binaries (build/release/bin/weir)
	@cmake --preset release -DWEIR_BENCH=OFF > /dev/null
	@cmake --build --preset release -j $(JOBS)

build-dev: deps-dev
	@cmake --preset dev > /dev/null
	@cmake --build --preset dev -j $(JOBS)

demo: deps ## A cluster here with results in the terminal: bids on a built-in auction stream
	@cmake --preset release > /dev/null
	@cmake --build --preset release --target weir hot_items -j $(JOBS)
	@tools/demo.sh build/release

test: build-dev ## All tests but the long ones: unit, then end to end; ends with a summary
	@tools/run-tests.py build/dev

check: build-dev ## What reviewers run: format, layers, headers, clang-tidy, sanitizers, long kill rounds (FULL=1: clang-tidy on all)
	@tools/check.sh $(if $(FULL),--full)

faults: build-dev build-faults-figures ## Faults against real processes (tests/faults); SCENARIO=name SEED=1-20 choose
	@tests/faults/run.py --beside $(BESIDE) $(if $(SCENARIO),--scenario $(SCENARIO)) \
		$(if $(SEED),--seed $(SEED)) $(if $(MISSING),--missing)

bench: deps-dev ## All benchmarks, one table at the end; ONLY=regex chooses (bench/README.md)
	@cmake --preset release -DWEIR_BENCH=ON > /dev/null
	@cmake --build --preset release -j $(JOBS)
	@bench/run.py "$(ONLY)"

format: deps-dev ## Rewrite the sources in the house format
	@git ls-files '*.h' '*.cc' | xargs clang-format-14 -i

install: build ## Install the release build below PREFIX (default /usr/local)
	@cmake --install build/release --prefix $(PREFIX)

clean: ## Remove everything that was built
	rm -rf build

.PHONY: help demo deps deps-dev build build-dev build-faults-figures test check bench faults format install clean
