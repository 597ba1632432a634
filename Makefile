# make study    from a fresh clone to runs/study/report/index.html
#               (OUT=folder puts it elsewhere)
# make test     every test         make check   lint, types and the quick tests
#
# pip's own variables (PIP_INDEX_URL, PIP_FIND_LINKS ...) are respected. PYTHON=... picks another
# interpreter, 3.11 or later.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
OUT ?= runs/study
BIN := .venv/bin
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest
PIP := $(BIN)/pip --disable-pip-version-check install --quiet -c constraints.txt

.PHONY: env study test check lint types wheel browser clean

env: .venv/installed

.venv/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or later is needed: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv .venv

.venv/installed: pyproject.toml constraints.txt | .venv/pyvenv.cfg
	$(PIP) -e .
	@touch $@

.venv/installed-test: .venv/installed
	$(PIP) -e '.[test,sn]'
	@touch $@

study: .venv/installed
	$(BIN)/python studies/bottleneck_sweep.py --preset smoke --out $(OUT)

# Two processes of one thread each; what starts Ray comes after the rest, in order, so that short
# files come last.
test: .venv/installed-test
	$(PYTEST) -m 'not ray' -n 2 --dist loadfile
	$(PYTEST) -m ray -n 2 --dist loadfile --no-loadscope-reorder

check: lint types
	$(PYTEST) -m 'not ray and not slow' -n 2 --dist loadfile

lint: .venv/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/installed-test
	$(BIN)/mypy daep_ray studies

wheel: .venv/installed
	rm -rf dist
	$(BIN)/pip --disable-pip-version-check wheel --quiet --no-deps -w dist .

# The test that opens a report in a browser needs Chromium; without it that test skips.
browser:
	@command -v chromium >/dev/null \
	  || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	       && apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium >/dev/null; } \
	  || echo "no Chromium: install it to run the browser test"

# Caches and builds; .venv and runs stay.
clean:
	rm -rf build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find daep_ray studies tests -name __pycache__ -prune -exec rm -rf {} +
