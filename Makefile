# Every command of the project; `make help` lists them. STAGE=local (the default) is this machine's own AWS and Snowflake.
STAGE ?= local
PYTHON ?= python3.11
VENV := .venv
PY := $(VENV)/bin/python
# Commands against the local stage find its endpoints in the environment; nothing else tells the stages apart.
ifeq ($(STAGE),local)
IN_STAGE := eval "$$($(PY) -m local env)" &&
endif
export TUGBOAT_STAGE := $(STAGE)
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup up deploy destroy demo replay run recommend rollback shop status logs traces down docs layers check generate format test test-unit clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'
	@echo; echo "  STAGE=dev and the like for a real account (docs/deploy.md); EVENTS=path, ITEMS=a,b, ARGS=... where a command takes them"

setup: $(VENV)/.installed ## the virtual environment with everything pinned in constraints.txt

# torch first and alone: only this version has a CPU build where plain pip looks for local files.
$(VENV)/.installed: pyproject.toml constraints.txt
	@test -x $(PY) || { command -v $(PYTHON) >/dev/null && $(PYTHON) -m venv $(VENV) || python3 -m venv $(VENV); }
	@$(PY) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { echo "Tugboat needs Python 3.11: make setup PYTHON=/path/to/python3.11"; exit 1; }
	@echo "installing into $(VENV) (two to three minutes the first time)"
	@$(PY) -m pip install -q --disable-pip-version-check -c constraints.txt 'torch==2.13.0'
	@$(PY) -m pip install -q --disable-pip-version-check -c constraints.txt --no-build-isolation setuptools wheel
	@$(PY) -m pip install -q --disable-pip-version-check -c constraints.txt --no-build-isolation -e '.[warehouse,train,serve,local,dev]'
	@touch $@

up: setup ## start this machine's AWS and Snowflake, and deploy to them
	@$(PY) -m local up
	@$(MAKE) --no-print-directory deploy

deploy: setup ## deploy STAGE: CloudFormation, warehouse set-up, the endpoint's container, layers, chalice deploy
	@$(IN_STAGE) $(PY) -m statemachine.deploy --stage $(STAGE)

destroy: setup ## remove what deploy made in STAGE (ARGS=--delete-data for the buckets too)
	@$(IN_STAGE) $(PY) -m statemachine.destroy --stage $(STAGE) $(ARGS)

demo: setup ## the whole journey on this machine (EVENTS=path for clicks of your own; default: a generated shop)
	@$(MAKE) --no-print-directory up STAGE=local
	@$(IN_STAGE) $(PY) -m demo $(if $(EVENTS),--events $(EVENTS)) $(ARGS)

replay: setup ## send EVENTS (or a generated shop) through the collector
	@$(IN_STAGE) $(PY) -m demo.replay $(if $(EVENTS),--events $(EVENTS)) $(ARGS)

run: setup ## start one execution of the state machine and follow it (ARGS=--full-refresh, --skip-training, --tune)
	@$(IN_STAGE) $(PY) -m demo.follow $(ARGS)

recommend: setup ## ask /recommend for ITEMS=a,b
	@$(IN_STAGE) $(PY) -m demo.recommend --items "$(ITEMS)" $(ARGS)

shop: setup ## the demo shop on http://127.0.0.1:8095, against STAGE's API (ARGS=--help for more)
	@$(IN_STAGE) $(PY) -m storefront.shop.server $(ARGS)

rollback: setup ## the endpoint back onto the release before
	@$(IN_STAGE) $(PY) -m statemachine.rollback --stage $(STAGE)

status: setup ## what runs, what is deployed, what serves; of another STAGE: its last execution
	@$(if $(filter local,$(STAGE)),$(PY) -m local status,$(PY) -m demo.follow --latest)

logs: setup ## logs of the local stack (ARGS="aws -f", "lambda", "jobs", "warehouse")
	@$(PY) -m local logs $(ARGS)

traces: setup ## where the time goes: the newest X-Ray trace of each kind (ARGS=pipeline, ARGS=sagemaker)
	@$(PY) -m local traces $(ARGS)

down: setup ## stop the local stack; its state stays in .local/
	@$(PY) -m local down

docs: setup ## dbt's documentation with lineage, on http://127.0.0.1:8090 (ARGS=--no-serve to write it only)
	@$(IN_STAGE) $(PY) -m sql.docs $(ARGS)

layers: setup ## build the Lambda layers and print their sizes against Lambda's limits
	@$(PY) -m statemachine.layers --build

check: setup ## format, lint, types, templates, SQL: what CI checks
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/cfn-lint statemachine/resources.yaml
	@$(VENV)/bin/sqlfluff lint sql --config sql/.sqlfluff --disable-progress-bar
	@$(MAKE) --no-print-directory generate ARGS=--check

generate: setup ## rewrite everything derived from contracts/ (ARGS=--check: only say what is out of date)
	@$(PY) -m contracts.generate $(ARGS)
	@$(PY) -m storefront.sdk.build $(ARGS)

format: setup ## rewrite what check would complain of
	@$(VENV)/bin/ruff check --fix . ; $(VENV)/bin/ruff format .

test: setup ## every test (ARGS="-k name" for some)
	@$(PY) -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder $(ARGS)

test-unit: setup ## the tests that take seconds
	@$(PY) -m pytest tests/unit $(ARGS)

clean: ## delete the environment, the local state and every build
	-@test -x $(PY) && $(PY) -m local down
	rm -rf $(VENV) .local build .chalice/deployed/local.json
