"""The results of a run in the JSON of Great Expectations 1.x: an expectation suite, and the result of its validation.

The fields are those of `ExpectationSuiteSchema` and `ExpectationSuiteValidationResultSchema` of that package:
https://docs.greatexpectations.io/docs/reference/api/core/expectationsuite_class
https://docs.greatexpectations.io/docs/reference/api/core/expectationsuitevalidationresult_class
The package itself is not needed.
"""

import re
from pathlib import Path
from typing import Any

import yaml

from functions.validate.summary import CheckResult, Summary

PROJECT = Path(__file__).resolve().parents[2] / "sql" / "dbt_project.yml"
# The format's version. Great Expectations reads it from the field of the same name.
FORMAT = "1.24.1"
# dbt's own tests, as expectations.
BUILT_IN = {
    "not_null": "expect_column_values_to_not_be_null",
    "unique": "expect_column_values_to_be_unique",
    "accepted_values": "expect_column_values_to_be_in_set",
}
# The arguments that an expectation has in Great Expectations, beside its column. It refuses others.
ARGUMENTS = {
    "expect_column_values_to_not_be_null": {"mostly"},
    "expect_column_values_to_be_unique": {"mostly"},
    "expect_column_values_to_be_in_set": {"value_set", "mostly"},
    "expect_column_values_to_be_between": {"min_value", "max_value", "strict_min", "strict_max", "mostly"},
    "expect_column_values_to_match_regex": {"regex", "mostly"},
    "expect_column_value_lengths_to_be_between": {"min_value", "max_value", "mostly"},
    "expect_column_values_to_be_increasing": {"strictly", "mostly"},
    "expect_compound_columns_to_be_unique": {"column_list", "mostly"},
    "expect_column_pair_values_a_to_be_greater_than_b": {"column_A", "column_B", "or_equal", "mostly"},
}
# Checks of totals, relations and whole tables. Their rows are those of QA.CHECK_RESULTS that failed.
OTHER = "unexpected_rows_expectation"
FAILED_ROWS = """select SLICE, VALUE, COMPARATOR, BOUND, REASON from QA.CHECK_RESULTS
where RUN_ID = '{run_id}' and SHOP_ID = '{shop_id}' and CHECK_NAME = '{name}' and SLICE = '{slice}' and VERDICT = 'failed'"""
OF_TABLE = {"expect_compound_columns_to_be_unique", "expect_column_pair_values_a_to_be_greater_than_b"}
VARIABLE = re.compile(r"\{\{ var\('(\w+)'\) \}\}")
Json = dict[str, Any]


def suite(summary: Summary) -> Json:
    """Return the checks as a suite that Great Expectations can load and run."""
    return {
        "name": _name(summary),
        "expectations": [_configuration(check, summary) for check in summary.checks],
        "meta": {"great_expectations_version": FORMAT},
        "notes": None,
    }


def validation_result(summary: Summary) -> Json:
    """Return the result of every check that was judged."""
    results = [_result(check, summary) for check in summary.checks if check.verdict != "skipped"]
    successful = sum(one["success"] for one in results)
    run_time = summary.checked_at.replace("Z", "+00:00")
    return {
        "success": successful == len(results),
        "results": results,
        "suite_name": _name(summary),
        "suite_parameters": {},
        "statistics": {
            "evaluated_expectations": len(results),
            "successful_expectations": successful,
            "unsuccessful_expectations": len(results) - successful,
            "success_percent": 100.0 * successful / len(results) if results else None,
        },
        "meta": {
            "great_expectations_version": FORMAT,
            "run_id": {"run_name": summary.run_id, "run_time": run_time},
            "validation_time": run_time,
            "active_batch_definition": {
                "datasource_name": "tugboat",
                "data_connector_name": "snowflake",
                "data_asset_name": summary.shop_id,
                "batch_identifiers": {"run_id": summary.run_id},
            },
        },
        "id": None,
    }


def _name(summary: Summary) -> str:
    return f"tugboat_{summary.shop_id}"


def _configuration(check: CheckResult, summary: Summary) -> Json:
    """Return one check as an ExpectationConfiguration."""
    of_dbt, kind = check.expectation, OTHER
    if of_dbt:
        kind = BUILT_IN.get(of_dbt.type, of_dbt.type if of_dbt.type in ARGUMENTS else OTHER)
    if kind == OTHER:
        parts = {
            "run_id": summary.run_id,
            "shop_id": summary.shop_id,
            "name": check.name,
            "slice": check.slice,
        }
        safe = {name: part.replace("'", "''") for name, part in parts.items()}
        arguments: Json = {"unexpected_rows_query": FAILED_ROWS.format(**safe)}
    else:
        arguments = _arguments(kind, of_dbt.arguments if of_dbt else {})
        if of_dbt and kind not in OF_TABLE:
            arguments = {"column": of_dbt.column} | arguments
    meta = {
        "table": of_dbt.model if of_dbt else check.slice,
        "name": check.name,
        "kind": check.kind,
        "against": check.against,
        "bound": f"{check.comparator} {check.bound:g}",
    }
    severity = "warning" if check.verdict == "warned" else "critical"
    description = f"{check.name}, {check.slice}"
    return {"type": kind, "kwargs": arguments, "meta": meta, "description": description, "severity": severity}


def _arguments(kind: str, given: Json) -> Json:
    """Return the arguments that Great Expectations has, with the values of dbt's variables."""
    if kind == BUILT_IN["accepted_values"] and "values" in given:
        given = given | {"value_set": given["values"]}
    return {name: _resolved(value) for name, value in given.items() if name in ARGUMENTS[kind]}


def _resolved(value: Any) -> Any:
    variable = VARIABLE.fullmatch(value) if isinstance(value, str) else None
    return yaml.safe_load(PROJECT.read_text("utf-8"))["vars"][variable[1]] if variable else value


def _result(check: CheckResult, summary: Summary) -> Json:
    """Return one check as an ExpectationValidationResult. A warning and an override are no success."""
    result: Json = {"observed_value": check.value}
    if check.expectation:
        rows = [
            {
                "file": row.file,
                "line": row.line,
                "event_id": row.event_id,
                "item_id": row.item_id,
                "note": row.note,
            }
            for row in check.rows
        ]
        unexpected = int(check.value or 0)
        result = {
            "unexpected_count": unexpected,
            "element_count": check.n,
            "unexpected_percent": 100.0 * unexpected / check.n if check.n else 0.0,
            "partial_unexpected_list": rows,
        }
    elif check.minimum_n:
        result["element_count"] = check.n
    meta: Json = {"verdict": check.verdict, "reason": check.reason}
    if check.override:
        meta["override"] = {"set_by": check.override.set_by, "reason": check.override.reason}
    return {
        "success": check.verdict == "passed",
        "expectation_config": _configuration(check, summary),
        "result": result,
        "meta": meta,
        "exception_info": {"raised_exception": False, "exception_traceback": None, "exception_message": None},
    }
