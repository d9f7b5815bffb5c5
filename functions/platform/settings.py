"""Typed settings of the Lambdas, read once from the environment and failing at start with what to set.

One dataclass a concern, so that a function's environment in .chalice/config.json holds what it needs and no more.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, cast

EndpointKind = Literal["serverless", "realtime"]


class SettingsError(Exception):
    """A variable is missing or malformed; the message says which and where to set it."""


def _text(env: Mapping[str, str], name: str) -> str:
    value = env.get(name, "").strip()
    if not value:
        raise SettingsError(
            f"{name} is not set: add it to this stage in .chalice/config.json (make deploy writes it)"
        )
    return value


def _whole_number(env: Mapping[str, str], name: str, lowest: int, highest: int) -> int:
    text = _text(env, name)
    try:
        value = int(text)
    except ValueError:
        raise SettingsError(f"{name}={text!r} is not a whole number") from None
    if not lowest <= value <= highest:
        raise SettingsError(f"{name}={value} is outside {lowest}..{highest}")
    return value


def _keys(text: str) -> dict[str, str]:
    """`shop=key,shop=key` as key -> shop; a shop may have several keys."""
    keys: dict[str, str] = {}
    for pair in text.split(","):
        shop, _, key = pair.partition("=")
        if not shop or not key or key in keys:
            raise SettingsError(f"TUGBOAT_SHOP_KEYS has {pair!r}, not shop=key with a key of its own")
        keys[key] = shop
    return keys


@dataclass(frozen=True)
class CollectSettings:
    """What the collector needs: who may send, where accepted and refused events go, and what receipts are verified with.

    `keys` names the shop of each key; a key stands in the shop's pages, so it is no secret.
    """

    keys: Mapping[str, str]
    events_stream: str
    rejected_stream: str
    events_bucket: str
    receipts_secret: str

    @property
    def shops(self) -> frozenset[str]:
        return frozenset(self.keys.values())

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "CollectSettings":
        return cls(
            keys=_keys(_text(env, "TUGBOAT_SHOP_KEYS")),
            events_stream=_text(env, "TUGBOAT_EVENTS_STREAM"),
            rejected_stream=_text(env, "TUGBOAT_REJECTED_STREAM"),
            events_bucket=_text(env, "TUGBOAT_EVENTS_BUCKET"),
            receipts_secret=_text(env, "TUGBOAT_RECEIPTS_SECRET"),
        )


@dataclass(frozen=True)
class RecommendSettings:
    """What /recommend needs: the endpoint, the time it may take, where the fallback lies, and what receipts are signed with."""

    endpoint: str
    endpoint_timeout_ms: int
    models_bucket: str
    receipts_secret: str

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "RecommendSettings":
        return cls(
            endpoint=_text(env, "TUGBOAT_ENDPOINT"),
            endpoint_timeout_ms=_whole_number(env, "TUGBOAT_ENDPOINT_TIMEOUT_MS", 10, 25_000),
            models_bucket=_text(env, "TUGBOAT_MODELS_BUCKET"),
            receipts_secret=_text(env, "TUGBOAT_RECEIPTS_SECRET"),
        )


@dataclass(frozen=True)
class WarehouseSettings:
    """What load, transform, validate and export need."""

    stage: str
    events_bucket: str
    models_bucket: str
    snowflake_secret: str
    shop_id: str

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "WarehouseSettings":
        return cls(
            stage=_text(env, "TUGBOAT_STAGE"),
            events_bucket=_text(env, "TUGBOAT_EVENTS_BUCKET"),
            models_bucket=_text(env, "TUGBOAT_MODELS_BUCKET"),
            snowflake_secret=_text(env, "TUGBOAT_SNOWFLAKE_SECRET"),
            shop_id=_text(env, "TUGBOAT_SHOP"),
        )


@dataclass(frozen=True)
class PublishSettings:
    """What publish, prove and rollback need to put a model behind the endpoint."""

    stage: str
    models_bucket: str
    endpoint: str
    endpoint_kind: EndpointKind
    endpoint_memory_mb: int
    endpoint_max_concurrency: int
    endpoint_instance_type: str
    inference_image: str
    sagemaker_role_arn: str

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "PublishSettings":
        kind = _text(env, "TUGBOAT_ENDPOINT_KIND")
        if kind not in ("serverless", "realtime"):
            raise SettingsError(f"TUGBOAT_ENDPOINT_KIND={kind!r} is neither serverless nor realtime")
        return cls(
            stage=_text(env, "TUGBOAT_STAGE"),
            models_bucket=_text(env, "TUGBOAT_MODELS_BUCKET"),
            endpoint=_text(env, "TUGBOAT_ENDPOINT"),
            endpoint_kind=cast(EndpointKind, kind),
            # The sizes and the cap a serverless endpoint takes:
            # https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ProductionVariantServerlessConfig.html
            endpoint_memory_mb=_whole_number(env, "TUGBOAT_ENDPOINT_MEMORY_MB", 1024, 6144),
            endpoint_max_concurrency=_whole_number(env, "TUGBOAT_ENDPOINT_MAX_CONCURRENCY", 1, 200),
            endpoint_instance_type=_text(env, "TUGBOAT_ENDPOINT_INSTANCE_TYPE"),
            inference_image=_text(env, "TUGBOAT_INFERENCE_IMAGE"),
            sagemaker_role_arn=_text(env, "TUGBOAT_SAGEMAKER_ROLE_ARN"),
        )


@lru_cache(maxsize=1)
def collect_settings() -> CollectSettings:
    return CollectSettings.from_env(os.environ)


@lru_cache(maxsize=1)
def recommend_settings() -> RecommendSettings:
    return RecommendSettings.from_env(os.environ)


@lru_cache(maxsize=1)
def warehouse_settings() -> WarehouseSettings:
    return WarehouseSettings.from_env(os.environ)


@lru_cache(maxsize=1)
def publish_settings() -> PublishSettings:
    return PublishSettings.from_env(os.environ)
