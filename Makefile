# make demo   distil scikit-learn's digits: accuracies, coreset files and pictures in demo_output/
# make test   run all tests, doctests included
# make docs   build the documentation site into docs/_build/html, examples executed
# make lint   check style
# make gpu-tables   time steps, growth and time to accuracy on a GPU, with the torch of $(PYTHON) (not of .venv, which has none for GPUs)
# make test-oldest   run the tests with the oldest supported scikit-learn, in a second environment
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL = -q install -c constraints.txt

.PHONY: demo test coverage docs lint test-oldest gpu-tables clean

$(VENV)/.stamp-base: constraints.txt
	$(PYTHON) -m venv $(VENV)
	touch $@

# One stamp per extra: an edit of the metadata or of the pins installs again, nothing else does.
$(VENV)/.stamp-%: $(VENV)/.stamp-base pyproject.toml constraints.txt
	$(BIN)/pip $(INSTALL) -e '.[$*]'
	touch $@

demo: $(VENV)/.stamp-plot
	$(BIN)/python examples/demo.py

test: $(VENV)/.stamp-test
	$(BIN)/python -m pytest

coverage: $(VENV)/.stamp-test
	$(BIN)/python -m pytest --cov --cov-report=term-missing --cov-fail-under=95

# Warnings are errors; examples are executed.
docs: $(VENV)/.stamp-docs
	$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build/html

lint: $(VENV)/.stamp-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

.venv-oldest/.stamp: constraints-oldest.txt pyproject.toml
	$(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/pip -q install -c constraints-oldest.txt -e '.[test]'
	touch $@

test-oldest: .venv-oldest/.stamp
	.venv-oldest/bin/python -m pytest

gpu-tables:
	PYTHONPATH=. $(PYTHON) benchmarks/step_time.py --device cuda
	PYTHONPATH=. $(PYTHON) benchmarks/scaling.py --device cuda
	PYTHONPATH=. $(PYTHON) benchmarks/time_to_accuracy.py --device cuda --ipc 10 --minutes 10 \
		--paper-steps 1000 --plain-steps 3 --plot time_to_accuracy_gpu.png

clean:
	rm -rf $(VENV) .venv-oldest demo_output docs/_build docs/auto_examples docs/generated
