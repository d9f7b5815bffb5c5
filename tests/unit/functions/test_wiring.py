"""The settings and clients that each step gets."""

import json
from collections.abc import Iterator

import pytest

from functions import wiring
from functions.platform import settings

LOGIN = {
    "account": "a", "user": "U", "private_key_pem": "key", "role": "R", "warehouse": "TUGBOAT", "database": "D",
}  # fmt: skip


class Secrets:
    """Secrets Manager with the pipeline's login."""

    def get_secret_value(self, SecretId: str) -> dict[str, str]:
        return {"SecretString": json.dumps(LOGIN)}


@pytest.fixture
def _environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    names = ("STAGE", "EVENTS_BUCKET", "MODELS_BUCKET", "SNOWFLAKE_SECRET", "SHOP")
    for name in names:
        monkeypatch.setenv(f"TUGBOAT_{name}", "x")
    monkeypatch.setenv("TUGBOAT_TRAINING_DAYS", "60")
    monkeypatch.setenv("TUGBOAT_TRANSFORM_WAREHOUSE_SIZE", "LARGE")
    monkeypatch.setenv("TUGBOAT_VALIDATE_WAREHOUSE_SIZE", "shared")
    monkeypatch.setattr(wiring, "client", lambda _: Secrets())
    settings.warehouse_settings.cache_clear()
    yield
    settings.warehouse_settings.cache_clear()


@pytest.mark.usefixtures("_environment")
def test_a_step_uses_its_own_warehouse_only_if_the_stage_sets_its_size() -> None:
    used = {step: wiring._credentials(step).warehouse for step in ("load", "transform", "validate", "export")}
    assert used == {
        "load": "TUGBOAT",
        "transform": "TUGBOAT_TRANSFORM",
        "validate": "TUGBOAT",
        "export": "TUGBOAT",
    }
