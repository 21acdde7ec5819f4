# Every target does its own set-up; on a bare Debian python3, python3-venv, git and make are enough.
.DELETE_ON_ERROR:
.PHONY: help run dev test quick coverage check reference bench bench-long soak campaign feeds power hostile mutations generate protos release fmt clean screenshots stand-ins

# The Python that .venv is made of: make run PYTHON=python3.12
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Stamps of what is installed: what `run` needs, that with what all the rest needs, and the yardsticks of `bench`.
# Only the files of dependencies make them old, so a second `make run` starts at once.
RUNTIME := $(VENV)/.runtime
DEV := $(VENV)/.dev
BENCH := $(VENV)/.bench
DEPENDENCIES := pyproject.toml openbank-client/pyproject.toml constraints.txt
# By environment, not by option, so that the build's own requirements are pinned too.
define install
@echo 'Installing into $(VENV), about half a minute...'
@PIP_CONSTRAINT=$(CURDIR)/constraints.txt $(BIN)/python -m pip --disable-pip-version-check install --quiet $(1)
endef

# A .venv that is broken, unfinished or of a Python too old makes all that is in it old.
USABLE := import sys, importlib.util; sys.exit(sys.version_info < (3, 11) or not importlib.util.find_spec("pip"))
ifneq ($(wildcard $(VENV)),)
ifneq ($(shell $(BIN)/python -c '$(USABLE)' 2>/dev/null && echo usable),usable)
.PHONY: $(BIN)/python $(RUNTIME) $(DEV) $(BENCH)
endif
endif

PROTOS := $(sort $(wildcard protos/openbank/*/v*/*.proto))
# The released contract as a buf image: what `check` holds the protos against. Only `release` moves it.
RELEASED := protos/released.binpb

help:
	@echo 'make run       serve the bank on 127.0.0.1:50051 (ARGS="--listen ... --data ...")'
	@echo 'make dev       install what all but `run` needs'
	@echo 'make test      run the tests (ARGS="-k ...")'
	@echo 'make quick     the tests of domain, commands, stored form, contract and house, in under 30 seconds'
	@echo 'make coverage  run the tests and print what they do not reach (ARGS="-k ...")'
	@echo 'make check     all that must hold: format, lint, types, contract, generated code, tests'
	@echo 'make bench     measure the bank beside its yardsticks, 35 minutes; needs Go (ARGS="--only WORDS")'
	@echo 'make bench-long  measure what takes longer: 10 million events, waits of health checks, an hour of soak'
	@echo 'make soak      an hour of mixed load, and what memory it takes (ARGS="--minutes ...")'
	@echo 'make campaign  kill a bank under load and check that it keeps its word (KILLS=1000 SEED=7 BACK_END=servers)'
	@echo 'make feeds     hold watches of every kind against the log while everything under them breaks (MINUTES=30 SEED=7)'
	@echo 'make power     take the power from a bank under load, and check the same; needs cc (CUTS=1000 SEED=7)'
	@echo 'make mutations break the bank on purpose, one way at a time: its tests must notice (ARGS="...words of one")'
	@echo 'make hostile   send a bank a million inputs that no client sends (INPUTS=20000 SEED=7)'
	@echo 'make fmt       format Python and protos'
	@echo 'make generate  make generated/ from protos/'
	@echo 'make reference make docs/reference/ and docs/architecture.svg from code and protos'
	@echo 'make screenshots take the pictures of screens in docs/ again; needs Chromium'
	@echo 'make protos    write the contract for other languages to dist/: proto files and a descriptor set'
	@echo 'make wheels    build the packages openbank-client and openbank into dist/'
	@echo 'make stand-ins serve stand-ins for EventStoreDB and MongoDB, both empty, until Ctrl-C'
	@echo 'make release   check, then take the protos as they are for the released contract'
	@echo 'make clean     remove the virtual environment and all caches, never data'

# In Python 2's words too: what is too old is to say so.
SUPPORTED := import sys; v = sys.version_info; \
  v >= (3, 11) or sys.exit("OpenBank needs Python 3.11 or newer, and $(PYTHON) is %d.%d.%d. Try: make PYTHON=python3.11 $(MAKECMDGOALS)" % v[:3])

$(BIN)/python:
	@command -v '$(PYTHON)' >/dev/null || { echo 'OpenBank needs Python 3.11 or newer, and $(PYTHON) is not there.' >&2; exit 1; }
	@$(PYTHON) -c '$(SUPPORTED)'
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo '$(PYTHON) cannot make a virtual environment. On Debian and Ubuntu: apt install python3-venv' >&2; exit 1; }

# Both packages, with all that the examples of README and tour need: EventStoreDB, MongoDB, and NATS as a sink.
$(RUNTIME): $(DEPENDENCIES) | $(BIN)/python
	$(call install,--editable ./openbank-client --editable '.[all]')
	@touch $@

$(DEV): $(DEPENDENCIES) | $(BIN)/python
	$(call install,--editable ./openbank-client --editable '.[dev]')
	@touch $(RUNTIME) $@

$(BENCH): benchmarks/requirements.txt $(RUNTIME)
	$(call install,--requirement benchmarks/requirements.txt)
	@touch $@

run: $(RUNTIME)
	$(BIN)/openbank serve $(ARGS)

dev: $(DEV)

# All tests run in three processes, file by file, on as few as two cores: most wait more than they compute. The longest
# files come first (tests/conftest.py). Those that ARGS selects run in one, so that their output shows and --pdb works.
IN_PARALLEL := --numprocesses 3 --dist loadfile --no-loadscope-reorder
ALL_TESTS := all tests, about 10 minutes on two idle cores, and 3 more the first time to build what they run
test: $(DEV)
	@echo 'Running $(if $(ARGS),the tests that ARGS selects,$(ALL_TESTS))'
	@$(BIN)/pytest $(or $(ARGS),$(IN_PARALLEL))

# What a change to rules, commands, stored form or contract breaks first; a new event or command fails here.
QUICK := tests/domain tests/commands tests/codec/test_codec.py tests/eventstore/test_corpus.py tests/contract \
  tests/test_house.py tests/test_docs.py tests/test_words.py
quick: $(DEV)
	@$(BIN)/pytest -q -x $(QUICK) $(ARGS)

# Which lines and branches the tests run. ARGS selects tests; all of them take about twice as long as `make test`.
coverage: $(DEV)
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest $(ARGS); status=$$?; $(BIN)/coverage combine --quiet && $(BIN)/coverage report; exit $$status

# generated/ is compared with a fresh one elsewhere, so that check works on uncommitted work and changes nothing.
check: $(DEV)
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/buf lint
	$(BIN)/buf format --diff --exit-code
	$(BIN)/buf build
	$(BIN)/buf breaking --against $(RELEASED)
	$(call generate_into,$(VENV)/generated)
	diff --recursive --exclude=__pycache__ generated $(VENV)/generated
	$(BIN)/pytest $(IN_PARALLEL)

bench: $(BENCH)
	$(BIN)/python -m benchmarks.run $(ARGS)

bench-long: $(BENCH)
	$(BIN)/python -m benchmarks.run --long $(ARGS)

soak: $(BENCH)
	$(BIN)/python -m benchmarks.soak $(ARGS)

# BACK_END is embedded, servers, or mixed (EventStoreDB with views in SQLite). A failure prints how to repeat it.
KILLS ?= 200
SEED ?= 7
BACK_END ?= embedded
campaign: $(DEV)
	$(BIN)/python -m tests.faults --kills $(KILLS) --seed $(SEED) --back-end $(BACK_END)

# Of the embedded store. A failure prints how to repeat it.
CUTS ?= 200
power: $(DEV)
	$(BIN)/python -m tests.disk --cuts $(CUTS) --seed $(SEED)

mutations: $(DEV)
	$(BIN)/python -m tests.mutations $(ARGS)

# Two instances on the EventStoreDB stand-in, restarted and killed in turn, 200 watchers, 500 writes/s.
MINUTES ?= 30
feeds: $(DEV)
	$(BIN)/python -m tests.feeds.long_run --minutes $(MINUTES) --seed $(SEED)

# Whatever comes to mind; a failure prints what was sent. docs/hostile-input.md tells what of it is whose.
INPUTS ?= 1000000
hostile: $(DEV)
	$(BIN)/python -m tests.hostile --inputs $(INPUTS) --seed $(SEED)

# The contract for programs in other languages: the proto files with a licence, and the same as a descriptor set. What the
# bank stores is not part of it.
DIST ?= dist
PUBLISHED := $(filter-out protos/openbank/storage/%,$(PROTOS))
protos: $(DEV)
	@rm -rf $(DIST)/openbank-protos && mkdir -p $(DIST)/openbank-protos
	@tar --create --directory protos $(PUBLISHED:protos/%=%) | tar --extract --directory $(DIST)/openbank-protos
	@cp LICENSE docs/clients.md $(DIST)/openbank-protos
	@tar --create --gzip --file $(DIST)/openbank-protos.tar.gz --directory $(DIST) openbank-protos
	@$(PROTOC) --include_imports --include_source_info --descriptor_set_out=$(DIST)/openbank.binpb $(PUBLISHED)
	@echo 'The contract is in $(DIST): openbank-protos/, openbank-protos.tar.gz, openbank.binpb (a descriptor set)'

# What is published for Python: openbank-client, and openbank, which is the server.
wheels: $(DEV)
	@$(BIN)/python -m pip --disable-pip-version-check wheel --quiet --no-deps --no-build-isolation --wheel-dir $(DIST) ./openbank-client .
	@echo 'In $(DIST): openbank_client and openbank, as wheels'

generate: $(DEV)
	$(call generate_into,generated)

# Only services need the _grpc half. Subpackages are regular, `openbank` itself is a namespace (see pyproject.toml).
PROTOC = PATH="$(CURDIR)/$(BIN):$$PATH" python -m grpc_tools.protoc --proto_path=protos
define generate_into
rm -rf $(1) && mkdir $(1)
$(PROTOC) --python_out=$(1) --mypy_out=quiet:$(1) $(PROTOS)
$(PROTOC) --grpc_python_out=$(1) --mypy_grpc_out=quiet:$(1) $(filter %_service.proto,$(PROTOS))
find $(1)/openbank -mindepth 1 -type d -exec touch {}/__init__.py {}/py.typed \;
endef

# The pages that are made from code; a test fails while they are stale.
reference: $(DEV)
	$(BIN)/python docs/draw_architecture.py
	$(BIN)/python docs/generate_reference.py

# The pictures in docs/ that show screens; needs Chromium and tmux.
screenshots: $(DEV)
	$(BIN)/python -m tests.screenshots

# EventStoreDB's stand-in and, where Go is, FerretDB, each empty, to try the server back ends by hand.
stand-ins: $(DEV)
	$(BIN)/python -m tests.stand_ins

release: check
	$(BIN)/buf build --exclude-source-info --output $(RELEASED)

fmt: $(DEV)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	$(BIN)/buf format --write

clean:
	rm -rf $(VENV) .hypothesis .mypy_cache .pytest_cache .ruff_cache .coverage* dist
	find openbank generated tests docs examples -name __pycache__ -prune -exec rm -rf {} +
