# make demo        distil scikit-learn's digits: accuracies, coreset files, pictures in demo_output/
# make test        run all tests, doctests included, on all cores; measures coverage on the way
# make test-fast   run the tests that are not marked slow: under two minutes on two cores
# make test-oldest run the fast tests with the oldest supported versions, in a second environment
# make coverage    run all tests, and require that they cover 95 % of the package
# make docs        build the documentation site into docs/_build/html, examples executed
# make lint        check style and spelling
# make typecheck   check the type hints
# make gpu-tables  time steps, growth and time to accuracy on a GPU, with the torch of $(PYTHON) (not
#                  of .venv, which has none for GPUs)
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL = -q install -c constraints.txt
# One process per core with one thread each: faster than threads for arrays as small as those of the
# tests, and sums round the same on every machine. Idle processes take tests over from busy ones.
WORKERS ?= auto
ONE_THREAD = OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
PYTEST = -m pytest -n $(WORKERS) --dist worksteal

.PHONY: demo test test-fast test-oldest coverage docs lint typecheck gpu-tables clean

$(VENV)/.stamp-base: constraints.txt
	$(PYTHON) -m venv $(VENV)
	touch $@

# One stamp per extra: an edit of the metadata or of the pins installs again, nothing else does.
$(VENV)/.stamp-%: $(VENV)/.stamp-base pyproject.toml constraints.txt
	$(BIN)/pip $(INSTALL) -e '.[$*]'
	touch $@

demo: $(VENV)/.stamp-plot
	$(BIN)/python examples/demo.py

# The report is for `make coverage`.
test: $(VENV)/.stamp-test
	$(ONE_THREAD) $(BIN)/python $(PYTEST) --durations=15 --cov --cov-report=

test-fast: $(VENV)/.stamp-test
	$(ONE_THREAD) $(BIN)/python $(PYTEST) -m "not slow"

coverage: test
	$(BIN)/coverage report --fail-under=95

# Warnings are errors; examples are executed.
docs: $(VENV)/.stamp-docs
	$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build/html

lint: $(VENV)/.stamp-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell

typecheck: $(VENV)/.stamp-lint
	$(BIN)/mypy

.venv-oldest/.stamp: constraints-oldest.txt pyproject.toml
	$(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/pip -q install -c constraints-oldest.txt -e '.[test]'
	touch $@

test-oldest: .venv-oldest/.stamp
	$(ONE_THREAD) .venv-oldest/bin/python $(PYTEST) -m "not slow"

gpu-tables:
	PYTHONPATH=. $(PYTHON) benchmarks/step_time.py --device cuda
	PYTHONPATH=. $(PYTHON) benchmarks/scaling.py --device cuda
	PYTHONPATH=. $(PYTHON) benchmarks/time_to_accuracy.py --device cuda --ipc 10 --minutes 10 \
		--paper-steps 1000 --plain-steps 3 --plot time_to_accuracy_gpu.png

clean:
	rm -rf $(VENV) .venv-oldest demo_output docs/_build docs/auto_examples docs/generated
