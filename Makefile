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
# Keep bytecode between runs, whatever the environment says: without it, every test process and job compiles all modules again.
unexport PYTHONDONTWRITEBYTECODE
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
.DEFAULT_GOAL := help
# Every target that has a line of help.
.PHONY: $(shell sed -n 's/^\([a-z-]*\):.*\#\# .*/\1/p' $(firstword $(MAKEFILE_LIST)))

# For the shell: a pattern stays one, and a name, an id or a reason can have apostrophes.
quoted = '$(subst ','\'',$(1))'

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'
	@echo; echo "  STAGE=dev and the like for a real account (docs/deploy.md); EVENTS=path, ITEMS=a,b, ARGS=... where a command takes them"

setup: $(VENV)/.installed ## the virtual environment with everything pinned in requirements.lock

# pip's warnings are about the machine's pip settings: they go to the log, of which a failure prints the end.
define install
	@printf '  %-46s' $(1); began=$$SECONDS; \
	$(PY) -m pip install --disable-pip-version-check --progress-bar off $(2) >>$(VENV)/install.log 2>&1 \
	&& echo "$$((SECONDS - began)) s" || { echo failed; grep -v ^WARNING $(VENV)/install.log | tail -n 20; echo "all of it: $(VENV)/install.log"; exit 1; }
endef

# torch alone and without a hash: its build differs per machine, and only this version has a CPU build where plain pip
# looks for local files. Its dependencies come from the lock before it.
$(VENV)/.installed: pyproject.toml local/pyproject.toml requirements.lock constraints.txt
	@test -x $(PY) || { command -v $(PYTHON) >/dev/null && $(PYTHON) -m venv $(VENV) || python3 -m venv $(VENV); }
	@$(PY) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { echo "Tugboat needs Python 3.11: make setup PYTHON=/path/to/python3.11"; exit 1; }
	@echo "installing into $(VENV) (two to three minutes the first time)"
	$(call install,requirements.lock,--no-deps --require-hashes -r requirements.lock)
	$(call install,torch,-c constraints.txt torch)
	$(call install,'tugboat and tugboat-local',--no-deps --no-build-isolation -e . -e ./local)
	@touch $@

up: setup ## start this machine's AWS and Snowflake, and deploy to them
	@$(PY) -m local up
	@$(MAKE) --no-print-directory deploy

preflight: setup ## check what a deployment of STAGE needs: account, quotas, permissions, Snowflake's logins. It only reads
	@$(IN_STAGE) $(PY) -m deploy.preflight --stage $(STAGE)

deploy: setup ## deploy STAGE: CloudFormation, warehouse set-up, the endpoint's container, layers, chalice deploy
	@$(IN_STAGE) $(PY) -m deploy --stage $(STAGE)

destroy: setup ## remove what deploy made in STAGE (ARGS=--delete-data for events, tables and models too)
	@$(IN_STAGE) $(PY) -m deploy.destroy --stage $(STAGE) $(ARGS)

demo: setup ## the whole journey on this machine (EVENTS=path for clicks of your own; default: a generated shop)
	@$(MAKE) --no-print-directory up STAGE=local
	@$(IN_STAGE) $(PY) -m demo $(if $(EVENTS),--events $(call quoted,$(EVENTS))) $(ARGS)

replay: setup ## send EVENTS (or a generated shop) through the collector
	@$(IN_STAGE) $(PY) -m demo.replay $(if $(EVENTS),--events $(call quoted,$(EVENTS))) $(ARGS)

import: setup ## load FILE (a file, a directory or a pattern) as history of SHOP into STAGE (ARGS=--dry-run; docs/importing.md)
	@$(IN_STAGE) $(PY) -m imports --file $(call quoted,$(FILE)) --shop '$(SHOP)' --stage $(STAGE) $(ARGS)

run: setup ## train and publish for SHOP, or for all trained shops, and follow it (SHOP=a,b; ARGS=--full-refresh, --skip-training, --tune)
	@$(IN_STAGE) $(PY) -m demo.follow $(if $(filter command line,$(origin SHOP)),--shop '$(SHOP)') $(ARGS)

rerun: setup ## continue the failed run RUN (default: the latest, of SHOP) at the step that failed, and follow it
	@$(IN_STAGE) $(PY) -m demo.rerun $(if $(RUN),--run '$(RUN)') $(if $(filter command line,$(origin SHOP)),--shop '$(SHOP)') $(ARGS)

catalogue: setup ## import the product feed FILE of SHOP: Merchant Center, Shopify, WooCommerce (ARGS=--dry-run, --check-ids, --help)
	@$(IN_STAGE) $(PY) -m catalogue $(call quoted,$(FILE)) --shop '$(SHOP)' --stage $(STAGE) $(ARGS)

embeddings: setup ## store the embeddings FILE (of pictures, texts) of SHOP's products for training (docs/catalogue.md; ARGS=--dry-run, --remove)
	@$(IN_STAGE) $(PY) -m catalogue.embeddings $(if $(FILE),$(call quoted,$(FILE))) --shop '$(SHOP)' --stage $(STAGE) $(ARGS)

# A Python of its own, because the SDK and dbt want different versions of one package (deploy/sagemaker_sdk.txt).
SDK := build/sagemaker
$(SDK)/.installed: deploy/sagemaker_sdk.txt
	@test -x $(SDK)/bin/python || $(PY) -m venv $(SDK)
	@echo "installing the SageMaker SDK into $(SDK) (600 MB, about a minute the first time)"
	@$(SDK)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r $<
	@touch $@

# A Python of its own, because Superset and Tugboat want different versions of several packages (dashboards/superset.txt).
SUPERSET := build/superset
$(SUPERSET)/.installed: dashboards/superset.txt
	@test -x $(SUPERSET)/bin/python || $(PY) -m venv $(SUPERSET)
	@echo "installing Superset into $(SUPERSET) (941 MB, about two minutes the first time)"
	@began=$$SECONDS; $(SUPERSET)/bin/python -m pip install --disable-pip-version-check --progress-bar off --no-deps --require-hashes -r $< \
	>$(SUPERSET)/install.log 2>&1 && echo "installed in $$((SECONDS - began)) s" \
	|| { echo failed; grep -v ^WARNING $(SUPERSET)/install.log | tail -n 20; echo "all of it: $(SUPERSET)/install.log"; exit 1; }
	@touch $@

# Only a Superset of this machine needs the environment: neither posting to SUPERSET_URL nor the short commands do.
SERVED_HERE := $(if $(SUPERSET_URL)$(filter --help --dry-run --export --login,$(ARGS)),,$(filter local,$(STAGE))$(filter --serve,$(ARGS)))
dashboards: setup $(if $(SERVED_HERE),$(SUPERSET)/.installed) ## boards in Superset on http://127.0.0.1:8088, or posted to SUPERSET_URL (docs/dashboards.md; ARGS=--help)
	@$(IN_STAGE) $(PY) -m dashboards --stage $(STAGE) $(ARGS)

train: setup $(SDK)/.installed ## train once from here on the snapshot of the run RUN; publishes nothing (ARGS=--hyperparameter epochs=3)
	@$(IN_STAGE) $(SDK)/bin/python -m deploy.train --stage $(STAGE) $(if $(RUN),--run '$(RUN)') $(ARGS)

training-images: setup $(SDK)/.installed ## look up AWS's training containers of every region with the SageMaker SDK
	@$(SDK)/bin/python -m deploy.training_images

base-image: setup ## ask the registry for the current digest of the serving image's base, and write it (ARGS=--check)
	@$(PY) -m deploy.base_image $(ARGS)

recommend: setup ## ask /recommend for ITEMS=a,b of SHOP
	@$(IN_STAGE) $(PY) -m demo.recommend --items $(call quoted,$(ITEMS)) $(if $(filter command line,$(origin SHOP)),--shop '$(SHOP)') $(ARGS)

canary: setup ## ask /recommend as many sessions of SHOP, and show which release answers them (ARGS="--sessions 400")
	@$(IN_STAGE) $(PY) -m demo.canary $(if $(filter command line,$(origin SHOP)),--shop '$(SHOP)') $(ARGS)

batch: setup ## make the lists for mail of every client of SHOP, in Snowflake (docs/batch.md; ARGS="--export lists.csv --users-only")
	@$(IN_STAGE) $(PY) -m deploy.batch --stage $(STAGE) $(if $(filter command line,$(origin SHOP)),--shop '$(SHOP)') $(ARGS)

segment: setup ## the K clients of SHOP that suit ITEM best, by the newest batch, as CSV (ARGS="--export FILE", ARGS=--help)
	@$(IN_STAGE) $(PY) -m deploy.batch.segment --stage $(STAGE) --item $(call quoted,$(ITEM)) $(if $(K),-k '$(K)') \
	$(if $(filter command line,$(origin SHOP)),--shop '$(SHOP)') $(ARGS)

shop: setup ## the demo shop on http://127.0.0.1:8095, against STAGE's API (ARGS=--help for more)
	@$(IN_STAGE) $(PY) -m demo.shop.server $(ARGS)

secret-key: setup ## issue a secret key for the back end of SHOP (ARGS=--list, ARGS="--revoke NAME"; docs/deploy.md)
	@$(IN_STAGE) $(PY) -m deploy.secret_key --stage $(STAGE) $(if $(SHOP),--shop '$(SHOP)') $(ARGS)

rollback: setup ## the endpoint of SHOP back onto the release before
	@$(IN_STAGE) $(PY) -m deploy.rollback --stage $(STAGE) $(if $(filter command line,$(origin SHOP)),--shop '$(SHOP)')

erase: setup ## remove one person everywhere: CLIENT=id or USER=id, SHOP=name for one shop (ARGS=--yes: do not ask)
	@$(IN_STAGE) $(PY) -m deploy.erase --stage $(STAGE) $(if $(filter command line,$(origin CLIENT)),--client $(call quoted,$(CLIENT))) \
	$(if $(filter command line,$(origin USER)),--user $(call quoted,$(USER))) $(if $(filter command line,$(origin SHOP)),--shop '$(SHOP)') $(ARGS)

explain: setup ## trace the answer REQUEST (its request_id) back to session, model and snapshot, and explain its items, as text and as a page
	@$(IN_STAGE) $(PY) -m deploy.explain --stage $(STAGE) --request '$(REQUEST)' $(ARGS)

why: setup ## split the change of FIGURE (revenue, click_rate, conversion) of SHOP into its causes (FROM=, TO=, AGAINST=day, ARGS=--sql)
	@$(IN_STAGE) $(PY) -m deploy.why --stage $(STAGE) $(if $(FIGURE),--figure '$(FIGURE)') $(if $(filter command line,$(origin SHOP)),--shop '$(SHOP)') \
	$(if $(FROM),--from '$(FROM)') $(if $(TO),--to '$(TO)') $(if $(AGAINST),--against '$(AGAINST)') $(ARGS)

quality: setup ## the data checks of every run with their trends, on http://127.0.0.1:8091 (ARGS="--great-expectations RUN", ARGS=--help)
	@$(IN_STAGE) $(PY) -m deploy.quality --stage $(STAGE) $(ARGS)

limit: setup ## the limits of SHOP's data checks; CHECK=name VALUE=0.5 REASON="..." sets one from the next run on (ARGS=--default: back)
	@$(IN_STAGE) $(PY) -m deploy.quality.limit --stage $(STAGE) $(if $(filter command line,$(origin SHOP)),--shop '$(SHOP)') \
	$(if $(filter command line,$(origin CHECK)),--check $(call quoted,$(CHECK))) $(if $(filter command line,$(origin VALUE)),--value='$(VALUE)') \
	$(if $(filter command line,$(origin REASON)),--reason $(call quoted,$(REASON))) $(if $(filter command line,$(origin BY)),--by $(call quoted,$(BY))) $(ARGS)

override: setup ## accept the failed data check CHECK of the run RUN with REASON="..."; then make rerun continues it (BY=your name)
	@$(IN_STAGE) $(PY) -m deploy.quality.override --stage $(STAGE) --run '$(RUN)' --check $(call quoted,$(CHECK)) --reason $(call quoted,$(REASON)) \
	$(if $(filter command line,$(origin BY)),--by $(call quoted,$(BY))) $(ARGS)

experiments: setup ## results of the experiments of STAGE, with intervals that hold every night (SHOP=name: of one shop; docs/ab_tests.md)
	@$(IN_STAGE) $(PY) -m deploy.experiments --stage $(STAGE) $(if $(SHOP),--shop '$(SHOP)') $(ARGS)

check-experiments: setup ## check the files of experiments/, as a deployment does
	@$(PY) -m deploy.experiments.check

rules: setup ## bring rules/SHOP.yaml to the carousels of STAGE within two minutes, without a deployment (docs/rules.md; ARGS=--help)
	@$(IN_STAGE) $(PY) -m deploy.rules --stage $(STAGE) $(if $(filter command line,$(origin SHOP)),--shop '$(SHOP)') $(ARGS)

check-rules: setup ## replay last week's sessions of STAGE with rules/SHOP.yaml, and show the carousels that change most
	@$(IN_STAGE) $(PY) -m deploy.rules --check --stage $(STAGE) $(if $(filter command line,$(origin SHOP)),--shop '$(SHOP)') $(ARGS)

drill: setup ## ring ALARM (a name, or all) of STAGE on purpose and print its message; without ALARM: the list
	@$(if $(ALARM),$(IN_STAGE)) $(PY) -m deploy.drill --stage $(STAGE) $(if $(ALARM),--alarm '$(ALARM)') $(if $(filter command line,$(origin SHOP)),--shop '$(SHOP)') $(ARGS)

smoke: setup ## walk the whole journey on STAGE at small size, and write its times and costs (ARGS=--help for more)
	@$(IN_STAGE) $(PY) -m demo.smoke $(ARGS)

bill: setup ## predict the monthly bill of STAGE (ARGS="--shop-figures events=3M items=20k", ARGS="--measured latest"; ARGS=--help)
	@$(if $(findstring --measured,$(ARGS)),$(IN_STAGE)) $(PY) -m deploy.bill --stage $(STAGE) $(ARGS)

status: setup ## what runs, what is deployed, what serves; of another STAGE: its last execution
	@$(if $(filter local,$(STAGE)),$(PY) -m local status,$(PY) -m demo.follow --latest)

operations: setup ## build the operations page of STAGE now; print its answer, its file and a signed address (ARGS="--hours 24")
	@$(IN_STAGE) $(PY) -m deploy.operations_page --stage $(STAGE) $(ARGS)

logs: setup ## logs of the local stack (ARGS="aws -f", "lambda", "jobs", "warehouse")
	@$(PY) -m local logs $(ARGS)

traces: setup ## where the time goes: the newest X-Ray trace of each kind (ARGS=pipeline, ARGS=sagemaker)
	@$(PY) -m local traces $(ARGS)

down: setup ## stop the local stack; its state stays in .local/
	@$(PY) -m local down

docs: setup ## dbt's documentation with lineage, on http://127.0.0.1:8090 (ARGS=--no-serve to write it only)
	@$(IN_STAGE) $(PY) -m sql.docs $(ARGS)

layers: setup ## build the Lambda layers and print their sizes against Lambda's limits
	@$(PY) -m deploy.build_layers --build

check: setup ## format, lint, types, prose, templates, SQL: the checks of CI
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/cfn-lint statemachine/resources.yaml
	@$(VENV)/bin/sqlfluff lint sql --config sql/.sqlfluff --disable-progress-bar
	@$(PY) -m docs.prose
	@$(PY) -m deploy.experiments.check
	@$(PY) -m deploy.rules.check
	@$(PY) -m docs.settings --check
	@$(PY) -m docs.data_checks --check
	@$(PY) -m deploy.lock --check
	@$(MAKE) --no-print-directory generate ARGS=--check
	@$(PY) -m training_jobs.gate.rules --check
	@$(PY) -m deploy.chalice_config --stage local --check
	@$(PY) -m deploy.error_handling --check

generate: setup ## rewrite everything derived from contracts/ (ARGS=--check: only say what is out of date)
	@$(PY) -m contracts.generate $(ARGS)
	@$(PY) -m storefront.sdk.build $(ARGS)

lock: setup ## rewrite requirements.lock and the lists that follow it (ARGS="--upgrade-package NAME" for a newer version)
	@$(PY) -m deploy.lock $(ARGS)

format: setup ## rewrite what check would complain of
	@$(VENV)/bin/ruff check --fix . ; $(VENV)/bin/ruff format .

# Three processes for two cores: tests often wait for servers, jobs and browsers.
test: setup ## every test (ARGS="-k name" for some)
	@$(PY) -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder --ignore tests/integration/warehouse/test_dashboards.py $(ARGS) \
	$(if $(ARGS),,|| { [ $$? = 1 ] && $(PY) -m testing.second_try; })
	@$(if $(ARGS),,$(MAKE) --no-print-directory test-sanitized)

# Superset needs a core of its own to draw its boards in time.
test-dashboards: setup $(SUPERSET)/.installed ## the boards in Superset, drawn in Chromium against the local Snowflake
	@$(PY) -m pytest -p no:xdist tests/integration/warehouse/test_dashboards.py $(ARGS)

test-unit: setup ## the tests without servers, jobs and packages
	@$(PY) -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder tests/unit local/tests/unit $(ARGS)

# A process that loads a sanitized library needs the sanitizer's runtime first. Python itself leaks on exit by design.
test-sanitized: setup ## the kernels' tests under AddressSanitizer and UndefinedBehaviorSanitizer
	@TUGBOAT_SANITIZED=1 ASAN_OPTIONS=detect_leaks=0 LD_PRELOAD="$$(cc -print-file-name=libasan.so)" \
	$(PY) -m pytest --numprocesses 2 --dist load tests/unit/training_jobs/serving/kernels tests/unit/training_jobs/serving/test_scan.py \
	tests/unit/training_jobs/serving/test_knn.py $(ARGS)

peers: setup ## the libraries that benchmarks.peers compares with (1.5 GB in build/peers); their tests need it
	@$(PY) -m benchmarks.peers setup

clean: ## delete the environment, the local state and every build
	-@test -x $(PY) && $(PY) -m local down
	rm -rf $(VENV) .local build .chalice/deployed
