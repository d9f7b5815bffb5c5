"""The contract: its generated validator against the reference implementation of JSON Schema."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts import generate_validator
from contracts.generate_validator import VALIDATOR, validator_source
from functions.platform.events.validator import validate
from functions.platform.events.violation import SchemaViolation

SCHEMA = json.loads(generate_validator.SCHEMA.read_text())
REFERENCE = jsonschema.Draft7Validator(SCHEMA)

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=70),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
fields = st.sampled_from(sorted(SCHEMA["properties"]))
good = {
    "schema_version": 1,
    "event_id": "e",
    "event_name": "purchase",
    "shop_id": "demo",
    "client_id": "c",
    "session_id": "s",
    "client_time_ms": 1_592_337_718_000,
}


def test_the_generated_validator_is_up_to_date() -> None:
    assert VALIDATOR.read_text() == validator_source()


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.dictionaries(fields, json_values, max_size=4), st.sets(st.sampled_from(sorted(good)), max_size=1))
def test_the_generated_validator_decides_as_the_reference_does(
    changes: dict[str, Any], removed: set[str]
) -> None:
    event = {name: value for name, value in {**good, **changes}.items() if name not in removed}
    try:
        validate(event)
        accepted = True
    except SchemaViolation:
        accepted = False
    assert accepted == REFERENCE.is_valid(event)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"schema_version": 1.5}, "data.schema_version must be integer"),
        ({"event_name": "dance"}, "data.event_name must be one of ['page_view', "),
        ({"currency": "USD\n"}, "data.currency must match pattern ^[A-Z]{3}$"),
        ({"value": 1e300}, "data.value must be smaller than or equal to 1000000000"),
        ({"items": [{"item_id": "a"}, {}]}, "data.items[1] must contain "),
        ({"items": [{"item_id": "a", "price": True}]}, "data.items[0].price must be number"),
        ({"items": [{"item_id": "a"}] * 201}, "data.items must contain less than or equal to 200 items"),
    ],
)
def test_a_violation_names_the_field_and_what_it_must_be(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(SchemaViolation) as violation:
        validate(good | changes)
    assert str(violation.value).startswith(told)


def test_a_schema_that_uses_what_no_code_is_made_for_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grown = {**SCHEMA, "properties": {**SCHEMA["properties"], "coupon": {"type": "string", "minLength": 2}}}
    (tmp_path / "event.schema.json").write_text(json.dumps(grown))
    monkeypatch.setattr(generate_validator, "SCHEMA", tmp_path / "event.schema.json")
    with pytest.raises(SystemExit, match=r"data\.coupon uses minLength"):
        validator_source()


def test_every_field_of_the_contract_is_described() -> None:
    item = SCHEMA["properties"]["items"]["items"]["properties"]
    assert all(field.get("description") for field in [*SCHEMA["properties"].values(), *item.values()])
