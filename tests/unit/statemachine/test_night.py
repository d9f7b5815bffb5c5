"""The structure of the night, of which moto accepts more than AWS does."""

import json
import re
from typing import Any

import jsonata
import pytest

from deploy import template
from deploy.error_handling import RETRY_CALL, RETRY_EXECUTION, RETRY_LAMBDA
from functions.platform.run_names import NIGHT_SHOP_CHARACTERS
from tests.unit.statemachine.test_pipeline import ROOT, expressions, targets

NIGHT: dict[str, Any] = json.loads(template.NIGHT_FILE.read_text())
OF_SHOP: dict[str, Any] = NIGHT["States"]["Shops"]["ItemProcessor"]
STATES: dict[str, Any] = NIGHT["States"] | OF_SHOP["States"]
TASKS = {name: state for name, state in STATES.items() if state["Type"] == "Task"}
STARTS = {name for name, state in TASKS.items() if "startExecution" in state["Resource"]}


@pytest.mark.parametrize("machine", [NIGHT, OF_SHOP], ids=["night", "shop"])
def test_every_transition_leads_to_a_state_and_every_state_is_reached(machine: dict[str, Any]) -> None:
    seen, waiting = set(), [machine["StartAt"]]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting.extend(targets(machine["States"][name]))
    assert seen == set(machine["States"])


def test_every_expression_is_jsonata_and_every_placeholder_has_a_value() -> None:
    found = list(expressions(NIGHT))
    assert len(found) > 20
    for expression in found:
        jsonata.Jsonata(re.sub(r"\$\{\w+\}", "x", expression))
    given = template.load_resources()["Resources"]["Night"]["Properties"]["DefinitionSubstitutions"]
    assert template.substitution_keys(json.dumps(NIGHT)) == set(given)


@pytest.mark.parametrize("name", sorted(TASKS))
def test_every_task_is_retried_as_its_service_and_catches_everything(name: str) -> None:
    task = TASKS[name]
    expected = RETRY_EXECUTION if name in STARTS else RETRY_CALL if name == "Notify" else RETRY_LAMBDA
    assert task["Retry"] == [expected]
    assert task["Catch"][-1]["ErrorEquals"] == ["States.ALL"]


def test_a_shop_that_fails_stays_within_its_item_and_the_lock_is_released_on_every_way() -> None:
    assert OF_SHOP["States"]["Shop"]["Catch"][0]["Next"] == "ShopFailed"
    assert OF_SHOP["States"]["ShopFailed"]["End"]
    for name, state in NIGHT["States"].items():
        for target in targets(state):
            if target == "Summary":
                assert name == "UnlockTables"
    assert set(targets(NIGHT["States"]["Shops"])) == {"UnlockTables"}


def test_the_names_of_executions_fit_and_the_tables_are_no_shop() -> None:
    longest = f"night-20261129-{'0' * 12}-{'s' * 50}"
    assert len(longest) <= 80
    beginning = f"substring($states.input.shop_id, 0, {NIGHT_SHOP_CHARACTERS})"
    assert beginning in OF_SHOP["States"]["Shop"]["Arguments"]["Name"]
    assert STATES["Tables"]["Arguments"]["Name"] == "{% 'night-' & $run_id & '.tables' %}"


def test_the_input_of_the_night_reaches_its_executions_without_the_list_of_shops() -> None:
    def evaluated(text: str, **variables: Any) -> Any:
        expression = jsonata.Jsonata(text.removeprefix("{%").removesuffix("%}"))
        return expression.evaluate(None, variables)

    context = {"Execution": {"Id": "arn:night", "Name": "n"}}
    states = {"input": {"shop_id": "second"}, "context": context}
    given = {"shops": ["demo", "second"], "full_refresh": True}
    for options, more in ((given, {"full_refresh": True}), ({}, {})):
        started = {"night": "arn:night", "AWS_STEP_FUNCTIONS_STARTED_BY_EXECUTION_ID": "arn:night"}
        tables = evaluated(STATES["Tables"]["Arguments"]["Input"], options=options, states=states)
        assert tables == {**more, "only_tables": True, **started}
        shop = evaluated(OF_SHOP["States"]["Shop"]["Arguments"]["Input"], options=options, states=states)
        assert shop == {**more, "shop_id": "second", **started}


def test_the_readme_has_every_state_of_the_night() -> None:
    readme = (ROOT / "statemachine" / "README.md").read_text()
    table = readme.partition("### The night")[2].partition("### A batch")[0]
    named = {
        name
        for line in table.splitlines()
        if line.startswith("| ")
        for name in line.split("|")[1].strip().split(", ")
    }
    assert named - {"State"} == set(STATES)
