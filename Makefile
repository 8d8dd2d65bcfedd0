# `make run` answers calls, `make test` proves it. Everything else is for people who work on the code.
.PHONY: run test check format soak load bench docs setup-run setup-test
.DEFAULT_GOAL := run
bin := .venv/bin

run: setup-run           ## start with a demo number and say what to dial
	@exec $(bin)/voice-gateway serve --demo --config configs/demo.toml

test: setup-test         ## the whole suite, real SIPp, baresip and Redis included
	@$(bin)/python -m pytest

check: setup-test        ## linters, types, import rules, generated docs
	@scripts/check

format: setup-test
	@$(bin)/ruff check --fix . && $(bin)/ruff format .

soak: setup-test         ## the simulation for as long as wanted: make soak SEEDS=1000000
	@$(bin)/python loadtests/soak.py --seeds $(or $(SEEDS),100000)

load: setup-test         ## SIPp at rising rates
	@$(bin)/python loadtests/load_signalling.py

setup-run:
	@scripts/setup run

setup-test:
	@scripts/setup test
