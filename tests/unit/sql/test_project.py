import re
from pathlib import Path

import pytest
import yaml

from functions.platform.warehouse import Credentials
from sql.setup.apply import PLACEHOLDER, UnsafeParameter, parameters, render

SQL = Path(__file__).resolve().parents[3] / "sql"
MODELS = sorted((SQL / "models").rglob("*.sql"))
CREDENTIALS = Credentials(
    "acme", "TUGBOAT_PIPELINE", "key", "TUGBOAT_DEV_PIPELINE", "TUGBOAT_DEV", "TUGBOAT_DEV"
)
VALUES = parameters(
    CREDENTIALS, "dev", "123456789012", "arn:aws:iam::123456789012:role/tugboat-dev-snowflake"
)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.stem)
def test_every_model_states_its_grain_and_has_tests(model: Path) -> None:
    described = yaml.safe_load(model.with_suffix(".yml").read_text())["models"][0]
    assert described["name"] == model.stem
    assert described["description"].strip().startswith("Grain: one ")
    assert any(column.get("data_tests") for column in described["columns"])


@pytest.mark.parametrize("file", sorted((SQL / "setup").glob("*.sql")), ids=lambda file: file.name)
def test_setup_renders_completely_and_is_safe_to_run_again(file: Path) -> None:
    rendered = render(file.read_text(), VALUES)
    assert "{{" not in rendered
    for created in re.findall(r"^create .*", rendered, re.MULTILINE):
        assert "if not exists" in created


def test_no_role_may_change_or_delete_raw_events() -> None:
    roles = (SQL / "setup" / "4_roles.sql").read_text()
    granted = re.findall(r"^grant (.*) on table .*RAW\.EVENTS to", roles, re.MULTILINE)
    assert granted == ["select, insert"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("database", "X; drop database Y"),
        ("role", "R'"),
        ("user", ""),
        ("events_bucket", "b/raw/') --"),
        ("storage_role_arn", "arn:aws:iam::1:user/x"),
    ],
)
def test_a_value_that_could_end_its_identifier_is_refused(name: str, value: str) -> None:
    with pytest.raises(UnsafeParameter, match=name):
        render("{{ " + name + " }}", VALUES | {name: value})


def test_every_placeholder_of_the_setup_is_a_parameter() -> None:
    used = {name for file in (SQL / "setup").glob("*.sql") for name in PLACEHOLDER.findall(file.read_text())}
    assert used == set(VALUES)
