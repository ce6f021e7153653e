# Two commands are all a newcomer needs: `make book` and `make test`. Both set everything up first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TORCH_INDEX ?=

# One thread per process: results and timings do not depend on the number of cores; parallel work uses processes.
export OMP_NUM_THREADS ?= 1
export MKL_NUM_THREADS ?= 1
export JUPYTER_PREFER_ENV_PATH := 1
export PYDEVD_DISABLE_FILE_VALIDATION := 1
# a reader's own settings of IPython and matplotlib would change what a page shows
export IPYTHONDIR := $(CURDIR)/$(VENV)/ipython
export MPLCONFIGDIR := $(CURDIR)/$(VENV)/matplotlib
unexport MPLBACKEND MATPLOTLIBRC
# each of a hundred processes would compile the package again
unexport PYTHONDONTWRITEBYTECODE
# MNIST where the checkout has it beside itself; without it the digits of scikit-learn serve alone
ifneq ($(wildcard ../shared/data/mnist/*.gz),)
export FL_DATA ?= $(CURDIR)/../shared/data/mnist
endif

# given as relative paths they would mean another folder to each chapter
ifdef FL_CACHE
export FL_CACHE := $(abspath $(FL_CACHE))
endif
ifdef FL_DATA
export FL_DATA := $(abspath $(FL_DATA))
endif

.PHONY: book pdf test browser setup lint unit claims chapters reference verify seconds bench shown clean clean-cache

book: $(VENV)/.installed
	$(BIN)/python tools/book.py

# the same as one file, printed by a Chromium of this machine
pdf: book
	$(BIN)/python tools/pdf.py

test: lint unit claims chapters shown

# the built book in a real browser, on both cores; FL_SHOTS=1 keeps pictures of every page in _build/shots
browser: book
	$(BIN)/python -m pytest tests/browser -n 2 --dist worksteal

setup: $(VENV)/.installed

# FL_SLOW=1, as `.ci/run` sets it, adds the tests on a Dask cluster and what they need
EXTRAS := book,test,browser,zoo
ifdef FL_SLOW
EXTRAS := $(EXTRAS),cluster
endif
# torch first and by itself: pip then takes the pinned build wherever it is configured to find it; modules are
# compiled when they are first used, because compiling all that nobody uses is a third of the time
PIP := $(BIN)/python -m pip install -q --disable-pip-version-check --no-compile -c constraints.txt
$(VENV)/.installed: pyproject.toml constraints.txt
	@echo "Setting up $(VENV): downloads about 420 MB the first time (PyTorch for processors 190 MB, the rest 230 MB)."
	@test "$$(uname -s)" != Linux -o -n "$(TORCH_INDEX)" || echo "On Linux pip may choose the build of PyTorch for GPUs, 3 GB more. To avoid it: make TORCH_INDEX=URL, the index of the CPU builds that PyTorch's installation page names."
	@test -x $(BIN)/python || $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0])'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch
	$(PIP) -e '.[$(EXTRAS)]'
	touch $@

lint: $(VENV)/.installed
	$(BIN)/ruff check -q .
	$(BIN)/ruff format -q --check .

unit: $(VENV)/.installed
	$(BIN)/python -m pytest tests fl --ignore tests/browser -n 2 --dist loadfile

# every claim at the smallest scale, on both cores, on seeds that the book does not use
claims: $(VENV)/.installed
	$(BIN)/python tools/claims.py smoke 101

# every chapter in a fresh kernel, its outputs against the stored ones; one process each, two chapters at a time,
# after the claims that they check have been evaluated on both cores
chapters: $(VENV)/.installed
	$(BIN)/python tools/claims.py
	FL_JOBS=1 $(BIN)/python -m pytest -o addopts= -q --nbval --nbval-current-env --nbval-cell-timeout 600 \
	  --nbval-sanitize-with tests/sanitize.cfg -n 2 --dist loadfile tests/notebooks

# the book in a browser, some pages of each kind, where there is a browser; `make browser` looks at all of them
shown: $(VENV)/.installed
	@if { command -v chromium || command -v google-chrome; } > /dev/null; then \
	  $(BIN)/python tools/book.py && FL_PAGES=few $(BIN)/python -m pytest tests/browser -n 2 --dist worksteal; \
	else echo "no Chromium on this machine: the tests in a browser are skipped"; fi

# write tests/notebooks anew after a chapter has changed; read the diff before you commit it
reference: $(VENV)/.installed
	$(BIN)/python tools/reference.py $(CHAPTERS)

verify: $(VENV)/.installed
	$(BIN)/fl verify

# write tools/seconds.json anew: in which order claims are evaluated
seconds: $(VENV)/.installed
	$(BIN)/python tools/seconds.py

# what each part costs, against the obvious way of doing it; on a quiet machine (BENCH="--long": the largest sizes too, a few minutes more)
bench: $(VENV)/.installed
	$(BIN)/python tools/bench.py $(BENCH)

clean-cache:
	rm -rf .fl-cache

clean: clean-cache
	rm -rf _build .pytest_cache .ruff_cache .hypothesis
