"""Settings: a wrong variable stops the Lambda at start, by its name."""

import pytest
from msgspec import structs

from deploy.lambdas import common_environment, named
from deploy.stages import read_stage
from functions.platform.settings import (
    CollectSettings,
    PublishSettings,
    RecommendSettings,
    SettingsError,
    WarehouseSettings,
    read_settings,
)

LOCAL = read_stage("local")
# A setting that these tests do not concern has the value of the local stage.
RECOMMEND = {
    "TUGBOAT_STAGE": "local",
    **named("api_handler").environment(LOCAL, LOCAL.account_id),
    "TUGBOAT_PREFIX": "tugboat-local",
    "TUGBOAT_ENDPOINT_KIND": "serverless",
    "TUGBOAT_SHOPS": "demo,second",
    "TUGBOAT_TRAINED_SHOPS": "demo",
    "TUGBOAT_ENDPOINT_TIMEOUT_MS": " 1000 ",
    "TUGBOAT_MODELS_BUCKET": "models",
    "TUGBOAT_RECEIPTS_SECRET": "receipts",
    "PATH": "/bin",
}
COLLECT = {
    "TUGBOAT_STAGE": "local",
    "TUGBOAT_SHOP_KEYS": "demo=k1,other=k2,demo=k3",
    "TUGBOAT_EVENTS_STREAM": "events",
    "TUGBOAT_REJECTED_STREAM": "rejected",
    "TUGBOAT_EVENTS_BUCKET": "bucket",
    "TUGBOAT_RECEIPTS_SECRET": "receipts",
    "TUGBOAT_SECRET_KEYS_SECRET": "secret-keys",
}
PUBLISH = {
    **named("publish").environment(LOCAL, LOCAL.account_id),
    "TUGBOAT_STAGE": "local",
    "TUGBOAT_MODELS_BUCKET": "models",
    "TUGBOAT_PREFIX": "tugboat-local",
    "TUGBOAT_ENDPOINT_MIN_INSTANCES": "1",
    "TUGBOAT_ENDPOINT_MAX_INSTANCES": "4",
    "TUGBOAT_ENDPOINT_REQUESTS_PER_INSTANCE_MINUTE": "12000",
    "TUGBOAT_ENDPOINT_KIND": "serverless",
    "TUGBOAT_ENDPOINT_MEMORY_MB": "3072",
    "TUGBOAT_ENDPOINT_MAX_CONCURRENCY": "20",
    "TUGBOAT_ENDPOINT_INSTANCE_TYPE": "ml.c6i.large",
    "TUGBOAT_INFERENCE_IMAGE": "image",
    "TUGBOAT_SAGEMAKER_ROLE_ARN": "arn",
}


def test_variables_become_typed_fields_without_surrounding_blanks() -> None:
    settings = read_settings(RecommendSettings, RECOMMEND)
    assert (settings.prefix, settings.endpoint_timeout_ms) == ("tugboat-local", 1000)
    assert (settings.shops, settings.trained_shops) == (("demo", "second"), ("demo",))
    assert (settings.models_bucket, settings.receipts_secret) == ("models", "receipts")
    assert read_settings(PublishSettings, PUBLISH).endpoint_memory_mb == 3072


@pytest.mark.parametrize("name", [field.encode_name for field in structs.fields(RecommendSettings)])
@pytest.mark.parametrize("value", [None, "", "  "])
def test_a_missing_or_empty_variable_is_named_with_the_file_that_sets_it(
    name: str, value: str | None
) -> None:
    env = {**RECOMMEND, name: value}
    with pytest.raises(SettingsError, match=rf"{name}\b.*\.chalice/config\.json"):
        read_settings(RecommendSettings, {key: text for key, text in env.items() if text is not None})


@pytest.mark.parametrize("value", ["9", "25001", "1.5", "soon", "-1"])
def test_a_number_outside_its_bounds_is_named_with_its_value(value: str) -> None:
    with pytest.raises(SettingsError, match=f"TUGBOAT_ENDPOINT_TIMEOUT_MS='{value}'"):
        read_settings(RecommendSettings, {**RECOMMEND, "TUGBOAT_ENDPOINT_TIMEOUT_MS": value})


def test_an_endpoint_kind_is_serverless_or_realtime() -> None:
    with pytest.raises(SettingsError, match="TUGBOAT_ENDPOINT_KIND='batch'"):
        read_settings(PublishSettings, {**PUBLISH, "TUGBOAT_ENDPOINT_KIND": "batch"})


def test_a_shop_may_have_several_keys() -> None:
    settings = read_settings(CollectSettings, COLLECT)
    assert settings.shop_keys == {"k1": "demo", "k2": "other", "k3": "demo"}
    assert settings.shops == {"demo", "other"}


@pytest.mark.parametrize("pairs", ["demo", "demo=", "=k", "demo=k,other=k", "demo=k,"])
def test_a_pair_that_is_not_shop_and_key_is_named(pairs: str) -> None:
    with pytest.raises(SettingsError, match=r"TUGBOAT_SHOP_KEYS=.*is not shop=key with a key of its own"):
        read_settings(CollectSettings, {**COLLECT, "TUGBOAT_SHOP_KEYS": pairs})


def test_a_shop_may_have_a_currency_of_its_own() -> None:
    warehouse = {**common_environment(LOCAL), **named("transform").environment(LOCAL, LOCAL.account_id)}
    assert read_settings(WarehouseSettings, warehouse).currencies == {}
    given = {**warehouse, "TUGBOAT_CURRENCIES": "demo=EUR,other=CHF"}
    assert read_settings(WarehouseSettings, given).currencies == {"demo": "EUR", "other": "CHF"}
    with pytest.raises(SettingsError, match=r"TUGBOAT_CURRENCIES='demo=euro'.*is not shop=EUR"):
        read_settings(WarehouseSettings, {**warehouse, "TUGBOAT_CURRENCIES": "demo=euro"})
