"""stages.toml and training_images.json as one typed object a stage."""

import json
import re
import secrets
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

FOLDER = Path(__file__).parent
STAGES_FILE = FOLDER / "stages.toml"
IMAGES_FILE = FOLDER / "training_images.json"
_SHOP_ID = re.compile(r"[\w.-]{1,64}", re.ASCII)
_KEY = re.compile(r"[\w-]{8,64}", re.ASCII)


class StageError(Exception):
    """stages.toml or training_images.json cannot be used; the message says what to write there."""


@dataclass(frozen=True)
class Stage:
    """Everything that differs between local, dev and prod."""

    name: str
    region: str
    account_id: str
    api_stage: str
    shops: dict[str, list[str]]
    notification_email: str
    snowflake_user_arn: str
    snowflake_external_id: str
    events_buffer_seconds: int
    events_buffer_megabytes: int
    rejected_expire_days: int
    exports_expire_days: int
    log_retention_days: int
    schedule: str
    schedule_enabled: bool
    load_on_arrival: bool
    no_events_hours: int
    api_latency_ms: int
    training_instance_type: str
    processing_instance_type: str
    use_spot: bool
    endpoint_kind: Literal["serverless", "realtime"]
    endpoint_memory_mb: int
    endpoint_max_concurrency: int
    endpoint_instance_type: str
    endpoint_timeout_ms: int
    endpoint_poll_seconds: int
    pandas_layer_arn: str

    @property
    def prefix(self) -> str:
        """What every name of this stage begins with."""
        return f"tugboat-{self.name}"

    @property
    def secret_name(self) -> str:
        return f"tugboat/{self.name}/snowflake"

    @property
    def sending_keys(self) -> dict[str, str]:
        """The key that each shop sends with; a shop without one cannot."""
        return {shop: keys[0] for shop, keys in self.shops.items() if keys}

    @property
    def receipts_secret(self) -> str:
        return f"tugboat/{self.name}/receipts"

    def events_bucket(self, account_id: str) -> str:
        return f"{self.prefix}-events-{account_id}"

    def models_bucket(self, account_id: str) -> str:
        return f"{self.prefix}-models-{account_id}"


def read_stage(name: str, stages_file: Path = STAGES_FILE) -> Stage:
    """The stage's values, its own before the defaults.

    Raises:
        StageError: the stage is unknown, or a value is missing, unknown or of the wrong type.
    """
    with stages_file.open("rb") as file:
        tables = tomllib.load(file)
    if name == "default" or name not in tables:
        known = ", ".join(sorted(tables.keys() - {"default"}))
        raise StageError(
            f"stage {name!r} is not in {stages_file.name}: use one of {known}, or add [{name}] there"
        )
    values = {**tables["default"], **tables[name], "name": name}
    expected = {field.name: field.type for field in fields(Stage)}
    unknown, missing = values.keys() - expected.keys(), expected.keys() - values.keys()
    if unknown or missing:
        problem = f"unknown: {sorted(unknown)}" if unknown else f"missing: {sorted(missing)}"
        raise StageError(f"[{name}] in {stages_file.name} has {problem}")
    for key, value in values.items():
        kind: Any = expected[key] if expected[key] in (bool, int) else dict if key == "shops" else str
        if type(value) is not kind:
            raise StageError(f"{key} of [{name}] in {stages_file.name} is {value!r}, not a {kind.__name__}")
    _check_shops(values["shops"], f"[{name}.shops] in {stages_file.name}")
    return Stage(**values)


def _check_shops(shops: dict[str, Any], place: str) -> None:
    if not shops:
        raise StageError(f"{place} is empty: name at least one shop")
    for shop, keys in shops.items():
        if not _SHOP_ID.fullmatch(shop):
            raise StageError(
                f"{place} has the shop id {shop!r}: use 1 to 64 letters, digits, '-', '_' and '.'"
            )
        if not isinstance(keys, list):
            raise StageError(f"{place} gives {shop!r} no list of keys but {keys!r}")
        for key in keys:
            if not isinstance(key, str) or not _KEY.fullmatch(key):
                raise StageError(
                    f"{place} gives {shop!r} the key {key!r}: use 8 to 64 letters, digits, '-', '_'"
                )
    every = [key for keys in shops.values() for key in keys]
    if len(set(every)) < len(every):
        raise StageError(f"{place} has a key twice: a key tells which shop is sending")


def require_keys(stage: Stage) -> None:
    """Nobody could send for a shop without a key.

    Raises:
        StageError: with a key made for it.
    """
    for shop, keys in stage.shops.items():
        if not keys:
            raise StageError(
                f"shop {shop!r} has no key: write into {STAGES_FILE.name}\n\n"
                f'    [{stage.name}.shops]\n    {shop} = ["{secrets.token_urlsafe(18)}"]\n'
            )


def training_image(stage: Stage, images_file: Path = IMAGES_FILE) -> str:
    """AWS's PyTorch container for this stage's training and evaluation jobs.

    Raises:
        StageError: the stage's region has not been looked up.
    """
    images = json.loads(images_file.read_text())
    if stage.region not in images:
        raise StageError(
            f"{images_file.name} has no images of {stage.region}: "
            f"python -m deploy.training_images --region {stage.region}"
        )
    # SageMaker's instance types with NVIDIA GPUs are ml.g* and ml.p*.
    gpu = stage.training_instance_type.startswith(("ml.g", "ml.p"))
    return str(images[stage.region]["training_gpu" if gpu else "training_cpu"])
