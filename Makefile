# `make run` answers calls, `make test` proves it. Everything else is for people who work on the code.
.PHONY: run test check compiled format soak fuzz coverage mutation load flood faults load-media bench bench-latency bench-parts bench-api test-fresh-clone docs site setup-run setup-test
.DEFAULT_GOAL := run
bin := .venv/bin

run: setup-run              ## start with demo numbers and say what to dial
	@exec $(bin)/voice-gateway serve --demo --config configs/demo.toml

test: setup-test            ## the whole suite, with real SIPp, baresip, Redis and PostgreSQL
	@$(bin)/python -m pytest -n auto --ignore tests/e2e
	@$(bin)/python -m pytest -n $$(($$(nproc) + 1)) --dist loadfile --no-loadscope-reorder tests/e2e
	@$(MAKE) --no-print-directory compiled

check: setup-test           ## linters, types, import rules, generated docs
	@scripts/check

format: setup-test          ## put the code in shape
	@$(bin)/ruff check --fix . && $(bin)/ruff format .

docs: setup-test            ## write the pages that are made from code
	@$(bin)/python scripts/generate_docs.py

site: setup-test            ## the pages of docs/ as a site, in ./site
	@NO_MKDOCS_2_WARNING=1 $(bin)/mkdocs build --strict --quiet

compiled: setup-test        ## the compiled build in .venv-compiled, and what tests the SIP core and audio once more on that
	@scripts/compiled
	@export PYTHONSAFEPATH=1; \
	.venv-compiled/bin/python -m tests.simulation --seeds $(or $(SEEDS),0:30) & simulation=$$!; \
	.venv-compiled/bin/python -m pytest -o pythonpath= -n auto tests/sip tests/media tests/streams tests/test_build.py tests/e2e/test_instruction_count.py tests/e2e/test_media_instruction_count.py; \
	tested=$$?; wait $$simulation && exit $$tested

test-fresh-clone: setup-test ## the README's two commands as a newcomer types them; wants ports 5060 and 8080
	@VOICE_GATEWAY_FRESH_CLONE=1 $(bin)/python -m pytest tests/e2e/test_two_commands.py

soak: setup-test            ## the simulation over many seeds: make soak SEEDS=0:100000
	@$(bin)/python -m tests.simulation --seeds $(or $(SEEDS),0:10000)

fuzz: setup-test            ## what peers can reach, guided by coverage, for a bounded time: make fuzz SECONDS=1800
	@$(bin)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/fuzz.lock || \
		echo "no atheris for this Python: mutation without guidance"
	@$(bin)/python -m tests.fuzz --seconds $(or $(SECONDS),180)

coverage: setup-test        ## branches of gateway/sip that its tests run through
	@$(bin)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/coverage.lock
	@$(bin)/python -m coverage run --branch --source=gateway/sip -m pytest tests/sip tests/fuzz tests/calls tests/admission tests/workers tests/continuity
	@$(bin)/python -m coverage report --sort=cover --skip-covered

mutation: setup-test        ## small mistakes in the transaction and dialog machines that tests notice: make mutation COUNT=198
	@$(bin)/python scripts/mutate.py --count $(or $(COUNT),60)

load: setup-test            ## SIPp at rising rates, then 100,000 calls watching memory
	@$(bin)/python loadtests/load_signalling.py
	@$(bin)/python loadtests/load_signalling.py --memory

flood: setup-test           ## ten times its capacity from strangers and from a mad carrier, calls of another beside it
	@$(bin)/python loadtests/flood.py

faults: setup-test          ## hosts as network namespaces, and everything dies: make faults SEED=7 SECONDS=60 FAULTS=25
	@$(bin)/python -m loadtests.faults --seed $(or $(SEED),1) --seconds $(or $(SECONDS),60) --faults $(or $(FAULTS),25)

load-media: setup-test      ## calls with audio on one core: over WebSocket, relayed, to voicemail; CPU, late frames, memory
	@$(bin)/python -m loadtests.load_media

growth: setup-test          ## what a call costs with 10 to 10,000 held, to a million routes, over a million calls: make growth FULL=1
	@$(bin)/python -m loadtests.growth $(if $(FULL),--full)

bench: setup-test           ## the same calls through the gateway and through Kamailio: table, plot, data in docs/data
	@$(bin)/python -m loadtests.bench_peers

bench-latency: setup-test   ## how long callers wait beside a load: to the 100, to the agent, from a 503 to the fallback: make bench-latency RATE=100
	@$(bin)/python -m loadtests.bench_latency --rate $(or $(RATE),100)

bench-parts: setup-test     ## microseconds: parsing, the core, UDP, the relay, routes
	@for each in parse core udp relay routes; do echo "== $$each"; $(bin)/python loadtests/bench_$$each.py; done

bench-api: setup-test       ## the API with a million numbers, and calls beside it: half an hour; NUMBERS=20000 is quick
	@$(bin)/python loadtests/bench_api.py --numbers $(or $(NUMBERS),1000000)

setup-run:
	@scripts/setup run

setup-test:
	@scripts/setup test
