"""The export has the fields of Great Expectations 1.x, and each expectation only the arguments that the package accepts.

The fields are those of its marshmallow schemas, such as ExpectationConfigurationSchema (version 1.24.1).
"""

import json
from typing import Any

import pytest

from deploy.quality.great_expectations import suite, validation_result
from functions.validate.summary import Summary
from tests.unit.deploy.quality.summaries import BETWEEN, summary

CONFIGURATION = {"type", "kwargs", "meta", "description", "severity"}
RESULT = {"success", "expectation_config", "result", "meta", "exception_info"}
SUITE_RESULT = {"success", "results", "suite_name", "suite_parameters", "statistics", "meta", "id"}


@pytest.fixture(scope="module")
def exported() -> tuple[Summary, dict[str, Any], dict[str, Any]]:
    """Return a summary with its suite and its result, as they are read from JSON."""
    made = summary()
    return made, json.loads(json.dumps(suite(made))), json.loads(json.dumps(validation_result(made)))


def test_the_suite_has_every_check_as_a_configuration(exported: Any) -> None:
    made, found, _ = exported
    assert found.keys() == {"name", "expectations", "meta", "notes"}
    assert len(found["expectations"]) == len(made.checks)
    for one in found["expectations"]:
        assert one.keys() == CONFIGURATION
        assert one["severity"] in ("critical", "warning", "info")
        assert isinstance(one["kwargs"], dict)


def test_tests_of_dbt_have_the_names_and_the_arguments_of_great_expectations(exported: Any) -> None:
    _, found, _ = exported
    by_column = {one["kwargs"].get("column"): (one["type"], one["kwargs"]) for one in found["expectations"]}
    # Great Expectations has no argument of the name row_condition in dbt's form.
    assert by_column["value"] == (BETWEEN, {"column": "value", "min_value": 0})
    assert by_column["event_key"] == ("expect_column_values_to_be_unique", {"column": "event_key"})
    assert by_column["client_key"][0] == "expect_column_values_to_not_be_null"
    kind, arguments = by_column["event_name"]
    assert kind == "expect_column_values_to_be_in_set"
    assert {"view_item", "purchase"} < set(arguments["value_set"])


def test_a_check_without_an_equivalent_is_a_query_of_its_result(exported: Any) -> None:
    _, found, _ = exported
    others = [one for one in found["expectations"] if one["type"] == "unexpected_rows_expectation"]
    assert len(others) == 5
    assert "SLICE = 'shop o''neill'" in others[0]["kwargs"]["unexpected_rows_query"]


def test_the_result_counts_what_was_judged(exported: Any) -> None:
    made, _, found = exported
    assert found.keys() == SUITE_RESULT
    assert found["success"] is False
    assert found["statistics"] == {
        "evaluated_expectations": 8,
        "successful_expectations": 5,
        "unsuccessful_expectations": 3,
        "success_percent": 62.5,
    }
    assert found["meta"]["run_id"] == {"run_name": made.run_id, "run_time": "2026-11-29T03:10:00+00:00"}
    for one in found["results"]:
        assert one.keys() == RESULT
        assert one["expectation_config"].keys() == CONFIGURATION
        assert one["exception_info"]["raised_exception"] is False


def test_a_finding_has_its_share_its_rows_and_who_accepted_it(exported: Any) -> None:
    _, _, found = exported
    by_name = {one["expectation_config"]["meta"]["name"]: one for one in found["results"]}
    value = by_name[f"{BETWEEN}_value"]
    assert value["result"]["unexpected_count"] == 4
    assert value["result"]["unexpected_percent"] == 2.0
    assert value["result"]["partial_unexpected_list"][0]["line"] == 17
    assert value["expectation_config"]["severity"] == "warning"
    assert by_name["silence"]["meta"]["override"] == {"set_by": "ann", "reason": "a <i>holiday</i>"}
