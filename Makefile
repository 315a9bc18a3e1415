# make env    the environment in .venv       make demo   nine nodes, one measured node loss
# make check  lint, types, layers, unit      make test   that, and PostgreSQL labs and the browser
# make bench  docs/benchmarks.md, measured     make test-long   the rest: CockroachDB, long tests
# make docs   the documentation as a site    make clean  the environment away
VENV := .venv
BIN := $(VENV)/bin

.PHONY: env able demo check test test-long test-cockroachdb bench docs clean
env: $(VENV)/.stamp

# make PYTHON=/path/to/python3.13 for another than the first on PATH that is new enough
$(VENV)/.stamp: pyproject.toml
	@sh tools/env.sh $(VENV) "$(PYTHON)"
	@touch $@

demo: able env
	@$(BIN)/labkit demo

# what would end the demo is found out before 1.2 GB are fetched
able:
	@said=$$(python3 -I -S labkit/privileges.py 2>/dev/null); \
	  [ -z "$$said" ] || { echo "make demo: $$said" >&2; exit 1; }

check: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/pytest -q -n auto --dist worksteal tests/unit

# a lab is one worker's and takes about a core: `make test LABS=4` on a machine that has them
LABS ?= 2
ON_LABS = $(BIN)/pytest tests --ignore=tests/unit -n $(LABS) --dist loadgroup --no-loadscope-reorder
test: check
	$(ON_LABS) -m "not long and not docker"

# what rarely fails and takes long: CockroachDB's stand-ins, notebooks step by step, and every
# property on ten times as many examples
test-long: env
	$(ON_LABS) -m "long or docker"
	$(BIN)/pytest -q -n auto --dist worksteal tests/unit -m hypothesis --hypothesis-profile thorough

# the contract suite, the audit, the notebooks and the commands on real images, on the Docker Engine
# that answers, and on the cockroach program that is on PATH; ends with a summary for an issue
test-cockroachdb: env
	@$(BIN)/labkit doctor || true
	LABKIT_TEST_REAL_IMAGES=1 $(BIN)/pytest -q -rA --tb=short \
	  -k "cockroachdb or cockroach-binary or labs_in_containers" \
	  tests/contract tests/faults tests/notebooks tests/engine/test_labs_in_containers.py

bench: env
	$(BIN)/python -m bench

# the pages as a site in build/site; notebooks have the outputs of their newest runs
docs: env
	@"$$(command -v uv || echo $(BIN)/uv)" pip install --quiet --python $(BIN)/python --group docs
	$(BIN)/python -m tools.docs
	$(BIN)/typer labkit.cli.app utils docs --name labkit --title "Every command" \
	  --output build/pages/docs/commands.md
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

clean:
	rm -rf $(VENV) $(VENV).log
