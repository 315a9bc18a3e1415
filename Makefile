# make env    the environment in .venv       make demo   nine nodes, one measured node loss
# make check  lint, types, layers, unit      make test   the whole suite
# make bench  the README's numbers           make clean  the environment away
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3

.PHONY: env demo check test bench clean
env: $(VENV)/.stamp

# uv installs (fetched by pip where the machine has none): seconds with a warm cache
$(VENV)/.stamp: pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@command -v uv >/dev/null || test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet uv
	@UV=$$(command -v uv || echo $(BIN)/uv); \
	 $$UV pip install --quiet --python $(BIN)/python -e '.[notebook]' --group dev
	@touch $@

check: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/pytest -q tests/unit

test: check
	$(BIN)/pytest tests --ignore=tests/unit

clean:
	rm -rf $(VENV)
