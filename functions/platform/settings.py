"""Typed settings of the Lambdas, read once from the environment; an invalid variable fails at start by its name.

One struct per concern, so that a function's environment in .chalice/config.json contains only variables that the function reads.
A field's variable is its name in capitals after `TUGBOAT_`; its bounds are in its type.
"""

import os
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, Literal, TypeVar

from msgspec import Meta, Struct, ValidationError, convert, field

from functions.platform.contract import RECOMMEND_K_MAX
from functions.platform.endpoint import candidate_name, endpoint_name

Text = Annotated[str, Meta(min_length=1)]
SHARED = "shared"
# obey: events of a request with `Sec-GPC: 1` are not stored, and /recommend gives it no receipt.
PrivacyControl = Literal["obey", "ignore"]
EndpointKind = Literal["serverless", "realtime"]


class SettingsError(Exception):
    """A variable is missing or invalid. The message names it and the file that sets it."""


class ShopKeys(dict[str, str]):
    """The shop of each key. A shop may have several keys. They are in its pages, so they are no secret."""

    @classmethod
    def parse(cls, text: str) -> "ShopKeys":
        """Read `shop=key,shop=key`.

        Raises:
            ValueError: a pair lacks the shop or the key, or a key is listed twice.
        """
        keys = cls()
        for pair in text.split(","):
            shop, _, key = pair.partition("=")
            if not shop or not key or key in keys:
                raise ValueError(f"{pair!r} is not shop=key with a key of its own")
            keys[key] = shop
        return keys


class ShopCurrencies(dict[str, str]):
    """The currency of each shop's figures."""

    @classmethod
    def parse(cls, text: str) -> "ShopCurrencies":
        """Read `shop=EUR,shop=CHF`; an empty text is none.

        Raises:
            ValueError: a pair is no shop with a currency.
        """
        currencies = cls()
        for pair in filter(None, text.split(",")):
            shop, _, currency = pair.partition("=")
            if not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", shop) or not re.fullmatch("[A-Z]{3}", currency):
                raise ValueError(f"{pair!r} is not shop=EUR")
            currencies[shop] = currency
        return currencies


def _variable(field: str) -> str:
    return f"TUGBOAT_{field.upper()}"


class CollectSettings(Struct, frozen=True, rename=_variable):
    """Settings of the collector and of replay."""

    stage: Text
    shop_keys: ShopKeys
    events_stream: Text
    rejected_stream: Text
    events_bucket: Text
    receipts_secret: Text
    secret_keys_secret: Text
    global_privacy_control: PrivacyControl = "obey"

    @property
    def shops(self) -> frozenset[str]:
        """The shops that have a key."""
        return frozenset(self.shop_keys.values())


class ShopIds(tuple[str, ...]):
    """Ids of shops, in their order."""

    @classmethod
    def parse(cls, text: str) -> "ShopIds":
        """Read `shop,shop`.

        Raises:
            ValueError: there is no shop, or one is listed twice.
        """
        shops = cls(filter(None, text.split(",")))
        if not shops or len(set(shops)) < len(shops):
            raise ValueError(f"{text!r} is no list of different shops")
        return shops


class RecommendSettings(Struct, frozen=True, rename=_variable):
    """Settings of /recommend. A release of any of `shops` is served; of `trained_shops`, one is expected."""

    stage: Text
    prefix: Text
    endpoint_kind: EndpointKind
    shops: ShopIds
    trained_shops: ShopIds
    endpoint_timeout_ms: Annotated[int, Meta(ge=10, le=25_000)]
    models_bucket: Text
    receipts_secret: Text
    global_privacy_control: PrivacyControl


class CatalogueSettings(Struct, frozen=True, rename=_variable):
    """Settings of catalogue, which folds files into the current state."""

    events_bucket: Text
    models_bucket: Text


class CompactSettings(Struct, frozen=True, rename=_variable):
    """Settings of compact. Packed raw files are deleted at the age of `raw_expire_days`; 0: never."""

    events_bucket: Text
    raw_expire_days: Annotated[int, Meta(ge=0)]


class EraseSettings(Struct, frozen=True, rename=_variable):
    """Settings of erase and erase_rows. `eraser_role` is the only role that may delete from RAW."""

    stage: Text
    events_bucket: Text
    models_bucket: Text
    snowflake_secret: Text
    eraser_role: Text
    erasures_secret: Text
    exports_expire_days: Annotated[int, Meta(ge=1)]
    training_days: Annotated[int, Meta(ge=1)]


class LockSettings(Struct, frozen=True, rename=_variable):
    """Settings of lock."""

    models_bucket: Text


class WarehouseSettings(Struct, frozen=True, rename=_variable):
    """Settings of load, transform, validate, export, histories and batch. `shop` is the shop of a run that names none."""

    stage: Text
    events_bucket: Text
    models_bucket: Text
    snowflake_secret: Text
    shop: Text
    training_days: Annotated[int, Meta(ge=1)]
    # The shops whose currency is set; any other has its usual one.
    currencies: ShopCurrencies = field(default_factory=ShopCurrencies)
    load_by: Literal["copy", "snowpipe"] = "copy"
    # The size of the step's own warehouse, or "shared": the step uses the stage's warehouse.
    transform_warehouse_size: Text = SHARED
    validate_warehouse_size: Text = SHARED
    export_warehouse_size: Text = SHARED
    # A batch has the clients with an event in so many days, and follows each run that succeeds if it is nightly.
    batch_days: Annotated[int, Meta(ge=1)] = 30
    batch_nightly: bool = False

    def has_own_warehouse(self, step: str) -> bool:
        """Return True if the step has a warehouse of its own. Load has none."""
        return bool(getattr(self, f"{step}_warehouse_size", SHARED) != SHARED)


class AnswersSettings(Struct, frozen=True, rename=_variable):
    """Settings of answers: the number of items in the list of a client."""

    models_bucket: Text
    batch_items: Annotated[int, Meta(ge=1, le=RECOMMEND_K_MAX)]


class PublishSettings(Struct, frozen=True, rename=_variable):
    """Settings of publish, prove and rollback. `shop` is that of an execution whose input names none."""

    stage: Text
    shop: Text
    models_bucket: Text
    # The stage's prefix: the start of the names of its endpoints, models and configurations.
    prefix: Text
    endpoint_kind: EndpointKind
    # Memory and concurrency of a serverless endpoint:
    # https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ProductionVariantServerlessConfig.html
    endpoint_memory_mb: Annotated[int, Meta(ge=1024, le=6144)]
    endpoint_max_concurrency: Annotated[int, Meta(ge=1, le=200)]
    # Instances of a real-time endpoint. It gets more above this number of requests per instance and minute.
    endpoint_instance_type: Text
    endpoint_min_instances: Annotated[int, Meta(ge=1)]
    endpoint_max_instances: Annotated[int, Meta(ge=1)]
    endpoint_requests_per_instance_minute: Annotated[int, Meta(ge=1)]
    inference_image: Text
    sagemaker_role_arn: Text

    def endpoint(self, shop_id: str) -> str:
        """Return the name of a shop's endpoint of the stage's kind."""
        return endpoint_name(self.prefix, shop_id, self.endpoint_kind)

    def candidate(self, shop_id: str) -> str:
        """Return the name of the endpoint on which a new release of a shop is proved."""
        return candidate_name(self.prefix, shop_id, self.endpoint_kind)


class CanarySettings(Struct, frozen=True, rename=_variable):
    """Settings of the canary: the seconds at each share of the sessions; 0 for no canary."""

    stage: Text
    models_bucket: Text
    canary_seconds: Annotated[int, Meta(ge=0)]


class OperationsSettings(Struct, frozen=True, rename=_variable):
    """Settings of the operations page. `trained_shops` and `endpoint_kind` name the endpoints, before there is a release."""

    stage: Text
    prefix: Text
    events_bucket: Text
    models_bucket: Text
    endpoint_kind: EndpointKind
    trained_shops: ShopIds
    state_machine_arn: Text
    batch_machine_arn: Text
    # The minutes between two rebuilds; 0 for none but those at the end of a run.
    operations_minutes: Annotated[int, Meta(ge=0)]


Settings = TypeVar("Settings", bound=Struct)


def read_settings(kind: type[Settings], env: Mapping[str, str]) -> Settings:
    """Read settings from environment variables.

    Raises:
        SettingsError: a variable is missing, empty, or outside its bounds.
    """
    variables = {name: value.strip() for name, value in env.items() if name.startswith("TUGBOAT_")}
    try:
        return convert(variables, kind, strict=False, dec_hook=_parse)
    except ValidationError as error:
        problem, _, path = str(error).partition(" - at `$.")
        subject = path.rstrip("`")
        sentence = f"{subject}={variables[subject]!r}: {problem}" if subject else problem
        raise SettingsError(
            f"{sentence}. Set it for this stage in .chalice/config.json (make deploy writes it)."
        ) from None


def _parse(kind: type[Any], value: str) -> Any:
    return kind.parse(value)


@lru_cache(maxsize=1)
def collect_settings() -> CollectSettings:
    """Read the collector's settings, once per execution environment."""
    return read_settings(CollectSettings, os.environ)


@lru_cache(maxsize=1)
def catalogue_settings() -> CatalogueSettings:
    """Read the settings of catalogue, once per execution environment."""
    return read_settings(CatalogueSettings, os.environ)


@lru_cache(maxsize=1)
def compact_settings() -> CompactSettings:
    """Read compact's settings, once per execution environment."""
    return read_settings(CompactSettings, os.environ)


@lru_cache(maxsize=1)
def erase_settings() -> EraseSettings:
    """Read the erasure's settings, once per execution environment."""
    return read_settings(EraseSettings, os.environ)


@lru_cache(maxsize=1)
def recommend_settings() -> RecommendSettings:
    """Read /recommend's settings, once per execution environment."""
    return read_settings(RecommendSettings, os.environ)


@lru_cache(maxsize=1)
def lock_settings() -> LockSettings:
    """Read lock's settings, once per execution environment."""
    return read_settings(LockSettings, os.environ)


@lru_cache(maxsize=1)
def warehouse_settings() -> WarehouseSettings:
    """Read the warehouse steps' settings, once per execution environment."""
    return read_settings(WarehouseSettings, os.environ)


@lru_cache(maxsize=1)
def answers_settings() -> AnswersSettings:
    """Read the settings of answers, once per execution environment."""
    return read_settings(AnswersSettings, os.environ)


@lru_cache(maxsize=1)
def publish_settings() -> PublishSettings:
    """Read the publishing steps' settings, once per execution environment."""
    return read_settings(PublishSettings, os.environ)


@lru_cache(maxsize=1)
def canary_settings() -> CanarySettings:
    """Read the canary's settings, once per execution environment."""
    return read_settings(CanarySettings, os.environ)


@lru_cache(maxsize=1)
def operations_settings() -> OperationsSettings:
    """Read the operations page's settings, once per execution environment."""
    return read_settings(OperationsSettings, os.environ)
