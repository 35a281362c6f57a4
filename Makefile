# Every verb works from a clean clone: what it needs is installed into .venv first.
PYTHON_IN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help lint docs pictures format types generate verify audit test test-unit test-redis test-api e2e controlplane programs demo image install-crds deploy undeploy chaos races soak bench matrix release lock clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.venv/.complete: requirements-dev.lock pyproject.toml
	@scripts/venv

lint: .venv/.complete docs ## ruff (lint and format), the import contracts, the prose of the docs, and the site
	$(PYTHON_IN)/ruff check .
	$(PYTHON_IN)/ruff format --check .
	$(PYTHON_IN)/lint-imports
	$(PYTHON_IN)/python scripts/prose.py

docs: .venv/.docs ## build the site of docs/ into build/site; needs no network once its packages are there
	@NO_MKDOCS_2_WARNING=1 $(PYTHON_IN)/python -m mkdocs build --strict
	@$(PYTHON_IN)/python scripts/site_check.py build/site

.venv/.docs: .venv/.complete requirements-docs.lock
	@$(PYTHON_IN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-docs.lock
	@touch $@

pictures: .venv/.complete controlplane ## write docs/pictures and the outputs in the docs again, from real runs (4 minutes)
	@$(PYTHON_IN)/python scripts/pictures.py
	@$(PYTHON_IN)/python -m scripts.consoles

format: .venv/.complete ## let ruff fix and format the code
	$(PYTHON_IN)/ruff check --fix .
	$(PYTHON_IN)/ruff format .

types: .venv/.complete ## mypy, strict
	$(PYTHON_IN)/mypy

generate: .venv/.complete ## write crds/, the tables in docs/ and files of chart/ from the code
	$(PYTHON_IN)/python scripts/generate.py

verify: .venv/.complete ## fail if `make generate` would change a file
	$(PYTHON_IN)/python scripts/generate.py --check

audit: .venv/.complete ## fail if a package of the lock files has a known vulnerability; AUDIT=required if that cannot be asked
	@$(PYTHON_IN)/python scripts/audit.py requirements.lock requirements-dev.lock requirements-build.lock requirements-docs.lock

test: .venv/.complete controlplane programs ## all tests: unit, on real servers, on a real API server, and, where Docker is, on a real cluster
	@scripts/test-tiers unit redis+api e2e

test-unit: .venv/.complete ## the tests without I/O
	@scripts/test-tiers unit

test-redis: .venv/.complete ## the tests on Valkey, and on Redis if redis-server is on PATH
	@scripts/test-tiers redis

test-api: .venv/.complete controlplane programs ## the tests on etcd and kube-apiserver, and with real Alertmanagers
	@scripts/test-tiers api

e2e: .venv/.complete programs ## the tests on a kind cluster; E2E_KEEP=1 keeps it, KIND_IMAGE=… is its node image
	@E2E=required scripts/test-tiers e2e

controlplane: .venv/.complete ## build etcd and kube-apiserver, once, into a cache outside the checkout
	@$(PYTHON_IN)/python -m lab.building

programs: .venv/.complete ## build Alertmanager, Helm and actionlint, and fetch promtool, once, into that cache; says what is missing
	@$(PYTHON_IN)/python -m tests.harness.programs

demo: .venv/.complete ## storms on an API server of its own; CLUSTER=kind: on a kind cluster, with image and chart; CLUSTER=current: there
	@$(PYTHON_IN)/python -m lab.demo $(DEMO_ARGS)

image: ## the operator's image; IMAGE=stormfold:dev PYTHON_IMAGE=python:3.13-slim
	@scripts/image

install-crds: .venv/.complete ## the CRDs, on the current context's cluster
	@scripts/deploy crds

deploy: .venv/.complete ## install or upgrade there; OVERLAY=standalone|ha|<folder> IMAGE=… (docs/install.md)
	@scripts/deploy up

undeploy: .venv/.complete ## take it away again and say what is kept; PURGE=1 keeps nothing
	@scripts/deploy down

chaos: .venv/.complete controlplane ## break everything, SEEDS=10 times; SEED=7 is that one, RUN=main|sentinel|cluster (docs/chaos.md)
	@$(PYTHON_IN)/python -m tests.chaos

races: .venv/.complete controlplane ## 10,000 races of two consumers for a claim, CLAIM_RACES=10000 (docs/consumers.md), and 1,000 of two leaders for places in a gate
	@GATE_SEEDS=$${GATE_SEEDS:-1000} $(PYTHON_IN)/python -m pytest tests/unit/gate/test_steering.py tests/unit/gate/test_many_gates.py -q --timeout=3600
	@CLAIM_RACES=$${CLAIM_RACES:-10000} $(PYTHON_IN)/python -m pytest tests/api/one_request/test_claims.py -q -k race --durations=1 --timeout=3600

soak: .venv/.complete controlplane ## half of what it takes for MINUTES=10: nothing may grow (docs/soak.md)
	@$(PYTHON_IN)/python -m tests.soak

.venv/.bench: .venv/.complete requirements-bench.lock
	@$(PYTHON_IN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-bench.lock
	@touch $@

bench: .venv/.bench controlplane programs ## measure docs/benchmarks.md again; PART=store is one part of it
	@$(PYTHON_IN)/python -m benchmarks $(PART)

matrix: .venv/.complete programs ## tests of the API tier on other API servers, VERSIONS="v1.32.13 v1.35.4"; builds each once
	@$(PYTHON_IN)/python -m scripts.matrix $(VERSIONS)

release: .venv/.complete ## dist/ of the commit: wheel, sdist, install.yaml, chart, SBOM, checksums; VERSION=x.y.z IMAGE=<name without tag>
	@$(PYTHON_IN)/python scripts/release.py $(VERSION)

lock: .venv/.complete ## resolve the requirements of pyproject.toml again into the lock files
	@scripts/lock

clean: ## remove .venv and caches of the checkout; the built control plane stays
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
