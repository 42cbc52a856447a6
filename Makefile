# `make demo`, `make check` and `make test` each do all their own set-up; `make setup` does only that.
PY    ?= python3
VENV  ?= .venv
BIN   := $(VENV)/bin
PHOTO ?=
# uv reads neither pip's variables nor its configuration, so hand over local wheel folders where there are any.
LINKS = $(or $(UV_FIND_LINKS),$(PIP_FIND_LINKS),$(shell $(PY) -m pip config get global.find-links 2>/dev/null))
# Without such a folder, let uv pick the CPU build of torch or the right CUDA build.
TORCH = $(if $(LINKS),$(foreach l,$(LINKS),--find-links $(l)),--torch-backend auto)

# Idle OpenMP threads sleep instead of spinning: two busy processes on two cores otherwise stall each other.
export OMP_WAIT_POLICY ?= PASSIVE
# Where this is set, every process compiles numpy, torch and transformers anew: `fervit predict` starts in twice the time.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup demo check test lint types fast pytest coverage wheel docs docs-serve clean

setup: $(VENV)/.ok

$(VENV)/.ok: pyproject.toml constraints.txt
	$(PY) -m venv $(VENV)
	$(BIN)/python -m pip install -q uv
	$(BIN)/uv pip install -q --python $(BIN)/python $(TORCH) -c constraints.txt -e '.[dev]'
	@touch $@

demo: setup
	$(BIN)/fervit demo $(if $(PHOTO),--photo "$(PHOTO)")

# Before every commit.
check: lint types fast

# What CI runs: everything.
test: lint types pytest

lint: setup
	$(BIN)/ruff check src tests benchmarks scripts
	$(BIN)/ruff format --check src tests benchmarks scripts

types: setup
	$(BIN)/mypy

# A process per core, one thread each; runs of neighbours stay together, so few fixtures are made twice.
PYTEST = OMP_NUM_THREADS=1 $(BIN)/pytest -n logical --maxprocesses 4 --dist worksteal

fast: setup
	$(PYTEST) -m "not slow" --durations=3

pytest: setup
	$(PYTEST)

# Apart, because tracing every line takes a third more time.
coverage: setup
	$(PYTEST) --cov=fervit --cov-report=term

# sdist and wheel, and the wheel tried outside of the repository; WHEEL="--python 3.12" or WHEEL=--lowest.
wheel: setup
	UV_FIND_LINKS="$(LINKS)" $(BIN)/python scripts/check_wheel.py $(WHEEL)

# The documentation's site, into site/; a warning is an error. The notice is of Material's end of life in May 2027.
MKDOCS = NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs

docs: setup
	$(MKDOCS) build --strict --quiet

docs-serve: setup
	$(MKDOCS) serve

clean:
	rm -rf $(VENV) site .mypy_cache .pytest_cache .ruff_cache .coverage
