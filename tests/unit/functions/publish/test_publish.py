"""Releases: the second run ships the second model, the first stays for rollback, older ones are deleted."""

import io
import json
import tarfile
from typing import Any

import pytest
from msgspec import structs

from deploy.lambdas import named
from deploy.stages import read_stage
from functions.platform.contract import CURRENT_KEY, FALLBACK_KEY, ProveResult
from functions.platform.errors import EndpointBusy, GoldenMismatch, NothingToRollBackTo
from functions.platform.s3_keys import CHAMPION_KEY, release_key
from functions.platform.settings import PublishSettings, read_settings
from functions.prove.prove import prove
from functions.publish.publish import publish, resource_name
from functions.rollback.rollback import rollback
from testing.fakes import FakeEndpoint, FakeS3, FakeSageMaker

LOCAL = read_stage("local")
# A setting that these tests do not concern has the value of the local stage.
SETTINGS = structs.replace(
    read_settings(
        PublishSettings,
        {"TUGBOAT_STAGE": "test", **named("publish").environment(LOCAL, LOCAL.account_id)},
    ),
    models_bucket="models",
    endpoint="tugboat-test",
    endpoint_kind="serverless",
    endpoint_memory_mb=2048,
    endpoint_max_concurrency=5,
    endpoint_instance_type="ml.m5.large",
    inference_image="image",
    sagemaker_role_arn="arn:role",
)


def archive(version: str) -> bytes:
    files = {
        "model.json": {"model_version": version},
        "golden.json": [{"items": ["a"], "k": 2, "expected": [f"{version}-1", f"{version}-2"]}],
        "fallback.json": {"popular": [version], "related": {}},
        "encoder.npz": "weights",
    }
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            body = json.dumps(content).encode()
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(body)
            tar.addfile(member, io.BytesIO(body))
    return buffer.getvalue()


class Shop:
    """SageMaker and S3 with one served model per run, driven as by the state machine."""

    def __init__(self) -> None:
        self.sagemaker = FakeSageMaker()
        self.s3 = FakeS3()
        self.lies = False

    def endpoint(self) -> FakeEndpoint:
        def answer(question: dict[str, Any]) -> dict[str, Any]:
            config = self.sagemaker.endpoints["tugboat-test"]["EndpointConfigName"]
            version = "wrong" if self.lies else config.removeprefix("tugboat-test-")
            return {
                "items": [{"item_id": f"{version}-1", "score": 1}, {"item_id": f"{version}-2", "score": 0.5}]
            }

        return FakeEndpoint(answer)

    def release(self, run_id: str) -> ProveResult:
        uri = f"s3://models/training/{run_id}/output/model.tar.gz"
        self.s3.objects["models", f"training/{run_id}/output/model.tar.gz"] = archive(run_id)
        published = publish({"run_id": run_id, "model_data_uri": uri}, SETTINGS, self.sagemaker, self.s3)
        self.sagemaker.finish()
        return prove(
            {
                "run_id": run_id,
                "snapshot_id": run_id,
                "model_data_uri": published["model_data_uri"],
                "endpoint_config_name": published["endpoint_config_name"],
                "model_name": published["model_name"],
            },
            SETTINGS,
            self.sagemaker,
            self.endpoint(),
            self.s3,
        )


def test_the_first_release_creates_the_endpoint_and_its_records() -> None:
    shop = Shop()
    proof = shop.release("r1")
    assert (proof["model_version"], proof["overlap"], proof["previous_endpoint_config"]) == ("r1", 1.0, None)
    assert shop.s3.json("models", FALLBACK_KEY) == {"popular": ["r1"], "related": {}, "model_version": "r1"}
    assert shop.s3.objects["models", CHAMPION_KEY] == archive("r1")


def test_the_second_run_ships_the_second_model_and_keeps_the_first() -> None:
    shop = Shop()
    shop.release("r1")
    assert shop.release("r2")["previous_endpoint_config"] == "tugboat-test-r1"
    assert shop.sagemaker.endpoints["tugboat-test"]["EndpointConfigName"] == "tugboat-test-r2"
    assert set(shop.sagemaker.configs) == {"tugboat-test-r1", "tugboat-test-r2"}


def test_the_third_run_removes_the_first() -> None:
    shop = Shop()
    for run_id in ("r1", "r2", "r3"):
        proof = shop.release(run_id)
    assert proof["deleted"] == ["tugboat-test-r1"]
    assert set(shop.sagemaker.configs) == set(shop.sagemaker.models) == {"tugboat-test-r2", "tugboat-test-r3"}


def test_kept_releases_have_archives_that_do_not_expire_and_older_ones_have_none() -> None:
    shop = Shop()
    for run_id in ("r1", "r2", "r3"):
        shop.release(run_id)
    expired = [key for key in shop.s3.objects if key[1].startswith("training/")]
    for key in expired:
        del shop.s3.objects[key]
    served = {model["PrimaryContainer"]["ModelDataUrl"] for model in shop.sagemaker.models.values()}
    assert served == {f"s3://models/{release_key(f'tugboat-test-{run}')}" for run in ("r2", "r3")}
    kept = {key for _, key in shop.s3.objects if key.startswith("serving/releases/")}
    assert kept == {release_key("tugboat-test-r2"), release_key("tugboat-test-r3")}
    assert rollback({"to": "previous"}, SETTINGS, shop.sagemaker, shop.s3)["model_version"] == "r2"


def test_a_release_repeated_after_a_crash_changes_nothing_more() -> None:
    shop = Shop()
    shop.release("r1")
    shop.release("r2")
    shop.release("r2")
    current = shop.s3.json("models", CURRENT_KEY)
    assert current["release"]["run_id"] == "r2"
    assert current["previous"]["run_id"] == "r1"


def test_an_endpoint_that_serves_another_model_is_not_recorded_and_is_rolled_back() -> None:
    shop = Shop()
    shop.release("r1")
    shop.lies = True
    with pytest.raises(GoldenMismatch, match=r"0\.0% of the golden items"):
        shop.release("r2")
    assert shop.s3.json("models", CURRENT_KEY)["release"]["run_id"] == "r1"
    back = rollback({"to": "current"}, SETTINGS, shop.sagemaker, shop.s3)
    assert back["endpoint_config_name"] == "tugboat-test-r1"


def test_a_first_release_that_fails_leaves_no_endpoint() -> None:
    shop = Shop()
    shop.lies = True
    with pytest.raises(GoldenMismatch):
        shop.release("r1")
    rollback({"to": "current"}, SETTINGS, shop.sagemaker, shop.s3)
    assert shop.sagemaker.endpoints == {}


def test_a_manual_rollback_returns_to_the_previous_release_and_can_be_undone() -> None:
    shop = Shop()
    shop.release("r1")
    shop.release("r2")
    assert rollback({"to": "previous"}, SETTINGS, shop.sagemaker, shop.s3)["model_version"] == "r1"
    assert shop.s3.json("models", FALLBACK_KEY)["model_version"] == "r1"
    shop.sagemaker.finish()
    assert rollback({"to": "previous"}, SETTINGS, shop.sagemaker, shop.s3)["model_version"] == "r2"


def test_there_is_nothing_to_roll_back_to_after_one_release() -> None:
    shop = Shop()
    shop.release("r1")
    with pytest.raises(NothingToRollBackTo):
        rollback({"to": "previous"}, SETTINGS, shop.sagemaker, shop.s3)


def test_an_endpoint_that_is_being_updated_is_not_touched() -> None:
    shop = Shop()
    shop.release("r1")
    shop.sagemaker.endpoints["tugboat-test"]["EndpointStatus"] = "Updating"
    uri = "s3://models/training/r1/output/model.tar.gz"
    with pytest.raises(EndpointBusy):
        publish({"run_id": "r2", "model_data_uri": uri}, SETTINGS, shop.sagemaker, shop.s3)


def test_names_fit_sagemaker() -> None:
    name = resource_name(SETTINGS, "3f2b_" + "x" * 80)
    assert len(name) <= 63
    assert "_" not in name
