from typing import Any

from functions.platform import dbt
from functions.platform.dbt import variables
from functions.platform.warehouse import Credentials

CREDENTIALS = Credentials("acme", "TUGBOAT", "-----KEY-----", "ROLE", "WH", "DB")


def described(manifest: Any) -> dict[str, Any]:
    """Return all that dbt parsed, without the times of parsing."""
    found = {name: node.to_dict() for name, node in {**manifest.nodes, **manifest.unit_tests}.items()}
    for node in found.values():
        node.pop("created_at", None)
    return found


def test_one_parsed_project_serves_every_value_of_the_variables_that_the_steps_set() -> None:
    changed = variables(training_days=7, tested_until="2026-01-02 03:04:05")
    with dbt._environment(CREDENTIALS, home=str(dbt._work_dir())):
        dbt._use_thread_locks()
        parsed = described(dbt._manifest(CREDENTIALS))
        assert described(dbt._invoke(["parse", *changed], None)) == parsed
    assert {node["database"] for node in parsed.values() if "database" in node} == {"DB"}
