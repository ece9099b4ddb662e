# Everything a developer runs. Each target sets up what it needs; run `make` alone for the list.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
SEEDS  ?= 100000
SEED   ?=
WINDOWS ?= 20000
FRAMES ?= 1000000
MINUTES ?= 15
PARALLEL ?= 3
TRIALS ?= 2

.DEFAULT_GOAL := help
.PHONY: help run test sim cron fuzz faults bench lint lock clean

help:
	@echo 'make run [SECONDS=20]  one machine, two workers, the jobs of config/jobs.d; Ctrl-C stops it'
	@echo 'make test [ARGS=...]   all tests, with a real Consul and PostgreSQL; ARGS goes to pytest'
	@echo 'make sim [SEEDS=100000] [FIRST=0]  the simulator with more seeds; SEED=... replays one'
	@echo 'make cron [WINDOWS=20000]  fire times: every transition of every zone, 25 x WINDOWS random comparisons'
	@echo 'make fuzz [FRAMES=1000000]  bent frames against both sockets and the codec'
	@echo 'make faults [MINUTES=15] [SEED=N] [REPLAY=FILE]  real daemons on faulty networks; needs root, about an hour'
	@echo 'make bench             figures, one line of JSON each'
	@echo 'make lint              ruff, mypy and the import contracts'
	@echo 'make lock              choose all versions anew and write requirements.lock'
	@echo 'make clean             remove everything that these made'

run: $(READY)
	@exec $(BIN)/schedulerd dev --jobs config/jobs.d $(if $(SECONDS),--seconds $(SECONDS))

test: $(READY)
	@$(BIN)/python tests/support/consul_binary.py > /dev/null
	@$(BIN)/python tests/support/postgres_binaries.py > /dev/null
	@[ "$$(id -u)" != 0 ] || $(BIN)/python tests/support/nft_binary.py > /dev/null
	@exec $(BIN)/python -m pytest -n $(PARALLEL) --dist worksteal $(ARGS)

sim: $(READY)
	@SEED='$(SEED)' FIRST='$(FIRST)' exec $(BIN)/python -m pytest -n $(PARALLEL) tests/simulation/test_seeds.py \
	    tests/simulation/test_account.py --seeds=$(SEEDS) \
	    $(if $(SEED),-k breaks) $(ARGS)

cron: $(READY)
	@FIRE_TIMES_EXAMPLES=$(WINDOWS) EVERY_TRANSITION=1 exec $(BIN)/python -m pytest tests/properties/test_fire_times.py \
	    tests/properties/test_transitions.py tests/properties/test_search_bound.py tests/properties/test_cronsim.py $(ARGS)

fuzz: $(READY)
	@$(BIN)/python tests/support/consul_binary.py > /dev/null
	@exec $(BIN)/python -m pytest tests/properties/test_codec_frames.py tests/acceptance/test_foreign_frames.py \
	    --frames=$(FRAMES) -o faulthandler_timeout=0 $(ARGS)

faults: $(READY)
	@$(BIN)/python tests/support/consul_binary.py > /dev/null
	@$(BIN)/python tests/support/nft_binary.py > /dev/null
	@$(BIN)/python tests/support/postgres_binaries.py > /dev/null
	@exec $(BIN)/python -m pytest -n $(TRIALS) --dist worksteal tests/acceptance/faults --long --minutes=$(MINUTES) \
	    $(if $(SEED),--fault-seed=$(SEED)) $(if $(REPLAY),--replay=$(abspath $(REPLAY))) -rP -o faulthandler_timeout=0 $(ARGS)

bench: $(READY)
	@exec $(BIN)/python -m bench

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

# A Python that came without pip and ensurepip (Debian's, without python3-venv) gets pip from Debian's own wheel.
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and "schedulerd needs Python 3.11 or newer; $(PYTHON) is %d.%d" % v[:2])'
	@if $(PYTHON) -c 'import ensurepip' 2> /dev/null; then \
	    $(PYTHON) -m venv $(VENV) && wheel=; \
	else \
	    $(PYTHON) tests/support/apt_fetch.py python3-pip-whl .cache/pip && \
	    $(PYTHON) -m venv --without-pip $(VENV) && wheel=$$(ls "$$PWD"/.cache/pip/usr/share/python-wheels/pip-*.whl) || \
	    { echo 'This Python cannot make a virtual environment: install python3-venv (apt install python3-venv).' >&2; exit 1; }; \
	fi && \
	export PYTHONPATH="$$wheel" PIP_DISABLE_PIP_VERSION_CHECK=1 && \
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock && \
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --no-index --editable . && \
	touch $@

# In an environment of its own, so that the tool that locks is nobody's dependency. No address and no path of the
# machine that locks goes into the file.
lock:
	$(PYTHON) -m venv .cache/lock
	.cache/lock/bin/python -m pip install --quiet pip-tools
	env -u PIP_FIND_LINKS CUSTOM_COMPILE_COMMAND='make lock' .cache/lock/bin/pip-compile --quiet --upgrade \
	    --generate-hashes --strip-extras --allow-unsafe --extra dev --build-deps-for editable \
	    --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --output-file requirements.lock pyproject.toml

clean:
	rm -rf $(VENV) .cache .run build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
