"""Releases: the second run ships the second model, the first stays for rollback, older ones are deleted."""

import gzip
import io
import json
import tarfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
import pytest
from msgspec import structs

from deploy.lambdas import named
from deploy.stages import read_stage
from functions.canary.canary import CanaryEvent, canary
from functions.platform.contract import (
    CanaryResult,
    ProveResult,
    PublishResult,
    RollbackResult,
)
from functions.platform.endpoint import config_of
from functions.platform.errors import CanaryWithdrawn, EndpointBusy, GoldenMismatch, NothingToRollBackTo
from functions.platform.model_archive import ModelArchive
from functions.platform.releases import ReleaseRecord, read_record, release_of, served_shops, write_record
from functions.platform.run_names import release_name, run_id_of
from functions.platform.s3_keys import (
    champion_evaluation_key,
    champion_key,
    current_key,
    evaluation_key,
    fallback_key,
    placements_key,
    release_key,
)
from functions.platform.settings import CanarySettings, PublishSettings, read_settings
from functions.prove.prove import ProveEvent, prove
from functions.publish.publish import PublishEvent, publish
from functions.rollback.rollback import BUSY_POLL_S, EndedExecution, RollbackEvent, rollback
from testing.fakes import FakeAutoscaling, FakeCloudWatch, FakeEndpoint, FakeS3, FakeSageMaker

LOCAL = read_stage("local")
# A setting that these tests do not concern has the value of the local stage.
SETTINGS = structs.replace(
    read_settings(
        PublishSettings,
        {"TUGBOAT_STAGE": "test", **named("publish").environment(LOCAL, LOCAL.account_id)},
    ),
    models_bucket="models",
    prefix="tugboat-test",
    shop="demo",
    endpoint_kind="serverless",
    endpoint_memory_mb=2048,
    endpoint_max_concurrency=5,
    endpoint_instance_type="ml.m5.large",
    endpoint_min_instances=1,
    endpoint_max_instances=3,
    endpoint_requests_per_instance_minute=600,
    inference_image="image",
    sagemaker_role_arn="arn:role",
)
REALTIME = msgspec.structs.replace(SETTINGS, endpoint_kind="realtime")
TARGET = "endpoint/tugboat-test-demo-realtime/variant/all-traffic"


def archive(version: str) -> bytes:
    files = {
        "model.json": {"model_version": version},
        "golden.json": [{"items": ["a"], "k": 2, "expected": [f"{version}-1", f"{version}-2"]}],
        "fallback.json": {"popular": [version], "related": {}},
        "encoder.npz": "weights",
    }
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            body = json.dumps(content).encode()
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(body)
            tar.addfile(member, io.BytesIO(body))
    # The time of a gzip would differ between two archives of one version.
    return gzip.compress(buffer.getvalue(), mtime=0)


def never(seconds: float) -> None:
    assert seconds == 0, "this call must not wait"


def ended(name: str, status: Literal["ABORTED", "FAILED", "TIMED_OUT"] = "ABORTED") -> EndedExecution:
    """An execution that ended long ago."""
    arn = f"arn:aws:states:us-east-1:123456789012:execution:tugboat-test-pipeline:{name}"
    times = {"started_at_ms": 1_700_000_000_000, "stopped_at_ms": 1_700_000_600_000}
    return {"arn": arn, "status": status, **times, "step_timeout_s": 300}  # type: ignore[typeddict-item]


def run_of(execution: EndedExecution) -> str:
    return run_id_of(execution["arn"], datetime.fromtimestamp(execution["started_at_ms"] / 1000, UTC))


Target = Literal["candidate", "stage"]


class Executions:
    """Step Functions with the executions that run again after their end."""

    def __init__(self) -> None:
        self.redriven: set[str] = set()
        self.inputs: dict[str, Any] = {}

    def describe_execution(self, executionArn: str) -> dict[str, str]:
        status = "RUNNING" if executionArn in self.redriven else "FAILED"
        return {"status": status, "input": json.dumps(self.inputs.get(executionArn, {}))}


class Shop:
    """SageMaker and S3 with one served model per run, driven as by the state machine."""

    def __init__(self) -> None:
        self.sagemaker = FakeSageMaker()
        self.autoscaling = FakeAutoscaling()
        self.s3 = FakeS3()
        self.states = Executions()
        self.lies = False

    def endpoint(self, settings: PublishSettings = SETTINGS, target: Target = "stage") -> FakeEndpoint:
        name = settings.candidate("demo") if target == "candidate" else settings.endpoint("demo")

        def answer(question: dict[str, Any]) -> dict[str, Any]:
            config = config_of(self.sagemaker.endpoints[name])
            version = "wrong" if self.lies else config.removeprefix("tugboat-test-demo--")
            return {
                "items": [{"item_id": f"{version}-1", "score": 1}, {"item_id": f"{version}-2", "score": 0.5}]
            }

        return FakeEndpoint(answer)

    def publish(
        self, run_id: str, settings: PublishSettings = SETTINGS, target: Target = "stage"
    ) -> PublishResult:
        uri = f"s3://models/training/{run_id}/output/model.tar.gz"
        event: PublishEvent = {
            "run_id": run_id,
            "shop_id": "demo",
            "model_data_uri": uri,
            "target": target,
        }
        return publish(event, settings, self.sagemaker, self.autoscaling, self.s3)

    def release_of(self, shop_id: str, run_id: str) -> None:
        """Publish and record a release of another shop on its own endpoint."""
        uri = f"s3://models/training/{run_id}/output/model.tar.gz"
        self.s3.objects["models", f"training/{run_id}/output/model.tar.gz"] = archive(run_id)
        event: PublishEvent = {
            "run_id": run_id,
            "shop_id": shop_id,
            "model_data_uri": uri,
            "target": "stage",
        }
        published = publish(event, SETTINGS, self.sagemaker, self.autoscaling, self.s3)
        self.sagemaker.finish()
        proof: ProveEvent = {**proof_of(run_id, published), "shop_id": shop_id, "target": "stage"}
        items = [{"item_id": f"{run_id}-{n}", "score": 1.0} for n in (1, 2)]
        endpoint = FakeEndpoint(lambda _: {"items": items})
        prove(proof, SETTINGS, self.sagemaker, endpoint, self.autoscaling, self.s3)

    def rollback(
        self, to: Literal["current", "previous"], settings: PublishSettings = SETTINGS
    ) -> RollbackResult:
        return self.undo({"to": to, "shop_id": "demo"}, settings)

    def undo(
        self,
        event: RollbackEvent,
        settings: PublishSettings = SETTINGS,
        remaining_ms: int = 0,
        sleep: Callable[[float], None] = never,
    ) -> RollbackResult:
        """Call rollback. Only a test that passes `sleep` may wait."""
        arguments = (event, settings, self.sagemaker, self.autoscaling, self.s3, self.states)
        return rollback(*arguments, lambda: remaining_ms, sleep)

    def served(self) -> tuple[str, str]:
        """Return the endpoint that /recommend asks, and the configuration that it serves."""
        endpoint = self.s3.json("models", current_key("demo"))["release"]["endpoint"]
        return endpoint, config_of(self.sagemaker.endpoints[endpoint])

    def release(
        self,
        run_id: str,
        settings: PublishSettings = SETTINGS,
        target: Target = "stage",
        canaried: bool = False,
    ) -> ProveResult:
        self.s3.objects["models", f"training/{run_id}/output/model.tar.gz"] = archive(run_id)
        published = self.publish(run_id, settings, target)
        self.sagemaker.finish()
        event = proof_of(run_id, published)
        event |= {"target": target, "canaried": canaried}
        endpoint = self.endpoint(settings, target)
        return prove(event, settings, self.sagemaker, endpoint, self.autoscaling, self.s3)

    def canary(self, run_id: str, share: int = 0, now_ms: int = 0) -> CanaryResult:
        """Call canary for a candidate. CloudWatch has no figures, so there is nothing to compare."""
        name = release_name(SETTINGS.prefix, "demo", run_id)
        event: CanaryEvent = {
            "run_id": run_id,
            "shop_id": "demo",
            "snapshot_id": run_id,
            "model_data_uri": f"s3://models/{release_key(name)}",
            "endpoint_config_name": name,
            "endpoint_name": SETTINGS.candidate("demo"),
            "model_name": name,
            "model_version": run_id,
            "share": share,
            "seconds": 60,
        }
        return canary(event, CanarySettings("test", "models", 60), self.s3, FakeCloudWatch(), now_ms)

    def asked(self) -> str | None:
        """Return the candidate's model that a share of the sessions asks."""
        stored = self.s3.json("models", current_key("demo")).get("canary")
        return stored["release"]["run_id"] if stored else None


def proof_of(run_id: str, published: PublishResult) -> ProveEvent:
    return {
        "run_id": run_id,
        "shop_id": "demo",
        "snapshot_id": run_id,
        "model_data_uri": published["model_data_uri"],
        "endpoint_config_name": published["endpoint_config_name"],
        "model_name": published["model_name"],
    }


def test_the_first_release_creates_the_endpoint_and_its_records() -> None:
    shop = Shop()
    proof = shop.release("r1")
    assert (proof["model_version"], proof["overlap"], proof["previous_endpoint_config"]) == ("r1", 1.0, None)
    assert shop.s3.json("models", fallback_key("demo")) == {
        "popular": ["r1"],
        "related": {},
        "model_version": "r1",
    }
    assert shop.s3.objects["models", champion_key("demo")] == archive("r1")


def test_a_release_of_a_shop_has_its_tables_and_one_without_tables_replaces_them_by_none() -> None:
    s3 = FakeS3()
    s3.objects["models", "training/model.tar.gz"] = archive("r1")
    event = {"run_id": "r1", "snapshot_id": "r1", "endpoint_config_name": "c", "model_name": "m"}
    event["model_data_uri"] = "s3://models/training/model.tar.gz"
    tables = {"popular": {"": ["a"]}, "rising": {}, "bought_together": {}, "again": {}}
    for shop_id in ("bikes", "shoes"):
        release = release_of({**event, "shop_id": shop_id}, "endpoint", "v1")  # type: ignore[typeddict-item]
        for placements, popular in ((tables, {"": ["a"]}), (None, {})):
            found = ModelArchive("v1", [], {}, placements)
            write_record(ReleaseRecord(release, None), found, s3, "models")
            stored = s3.json("models", placements_key(shop_id))
            assert (stored["popular"], stored["model_version"]) == (popular, "v1")
    assert placements_key("bikes") != placements_key("shoes")


def test_the_champion_has_the_evaluation_of_its_own_run_also_after_a_rollback() -> None:
    shop = Shop()
    key = champion_evaluation_key("demo")
    for run_id in ("r1", "r2"):
        shop.s3.objects["models", evaluation_key(run_id)] = run_id.encode()
        shop.release(run_id)
        assert shop.s3.objects["models", key] == run_id.encode()
    shop.rollback("previous")
    assert shop.s3.objects["models", key] == b"r1"
    shop.sagemaker.finish()
    shop.release("r3")
    assert shop.s3.objects["models", key] == b"r1", "r3 has no evaluation, so the record of r1 continues"


def test_the_second_run_ships_the_second_model_and_keeps_the_first() -> None:
    shop = Shop()
    shop.release("r1")
    assert shop.release("r2")["previous_endpoint_config"] == "tugboat-test-demo--r1"
    assert shop.sagemaker.endpoints["tugboat-test-demo"]["EndpointConfigName"] == "tugboat-test-demo--r2"
    assert set(shop.sagemaker.configs) == {"tugboat-test-demo--r1", "tugboat-test-demo--r2"}


def test_the_third_run_removes_the_first() -> None:
    shop = Shop()
    for run_id in ("r1", "r2", "r3"):
        proof = shop.release(run_id)
    assert proof["deleted"] == ["tugboat-test-demo--r1"]
    assert (
        set(shop.sagemaker.configs)
        == set(shop.sagemaker.models)
        == {"tugboat-test-demo--r2", "tugboat-test-demo--r3"}
    )


def test_kept_releases_have_archives_that_do_not_expire_and_older_ones_have_none() -> None:
    shop = Shop()
    for run_id in ("r1", "r2", "r3"):
        shop.release(run_id)
    expired = [key for key in shop.s3.objects if key[1].startswith("training/")]
    for key in expired:
        del shop.s3.objects[key]
    served = {model["PrimaryContainer"]["ModelDataUrl"] for model in shop.sagemaker.models.values()}
    assert served == {f"s3://models/{release_key(f'tugboat-test-demo--{run}')}" for run in ("r2", "r3")}
    kept = {key for _, key in shop.s3.objects if key.startswith("serving/releases/")}
    assert kept == {release_key("tugboat-test-demo--r2"), release_key("tugboat-test-demo--r3")}
    assert shop.rollback("previous")["model_version"] == "r2"


def test_a_release_repeated_after_a_crash_changes_nothing_more() -> None:
    shop = Shop()
    shop.release("r1")
    shop.release("r2")
    shop.release("r2")
    current = shop.s3.json("models", current_key("demo"))
    assert current["release"]["run_id"] == "r2"
    assert current["previous"]["run_id"] == "r1"


def test_an_endpoint_that_serves_another_model_is_not_recorded_and_is_rolled_back() -> None:
    shop = Shop()
    shop.release("r1")
    shop.lies = True
    with pytest.raises(GoldenMismatch, match=r"0\.0% of the golden items"):
        shop.release("r2")
    assert shop.s3.json("models", current_key("demo"))["release"]["run_id"] == "r1"
    back = shop.rollback("current")
    assert back["endpoint_config_name"] == "tugboat-test-demo--r1"


def test_a_first_release_that_fails_leaves_no_endpoint() -> None:
    shop = Shop()
    shop.lies = True
    with pytest.raises(GoldenMismatch):
        shop.release("r1")
    assert shop.rollback("current")["endpoint_status"] == "Deleting"
    shop.sagemaker.finish()
    assert shop.sagemaker.endpoints == {}


def test_a_manual_rollback_returns_to_the_previous_release_and_can_be_undone() -> None:
    shop = Shop()
    shop.release("r1")
    shop.release("r2")
    assert shop.rollback("previous")["model_version"] == "r1"
    assert shop.s3.json("models", fallback_key("demo"))["model_version"] == "r1"
    shop.sagemaker.finish()
    assert shop.rollback("previous")["model_version"] == "r2"


def test_there_is_nothing_to_roll_back_to_after_one_release() -> None:
    shop = Shop()
    shop.release("r1")
    with pytest.raises(NothingToRollBackTo):
        shop.rollback("previous")


def test_an_endpoint_that_is_being_updated_is_not_touched() -> None:
    shop = Shop()
    shop.release("r1")
    shop.sagemaker.endpoints["tugboat-test-demo"]["EndpointStatus"] = "Updating"
    shop.s3.objects["models", "training/r2/output/model.tar.gz"] = archive("r2")
    with pytest.raises(EndpointBusy):
        shop.publish("r2")


def test_names_fit_sagemaker() -> None:
    name = release_name(SETTINGS.prefix, "demo", "3f2b_" + "x" * 80)
    assert len(name) <= 63
    assert "_" not in name


def test_a_change_of_the_kind_starts_a_second_endpoint_and_shoppers_follow_when_it_is_proved() -> None:
    shop = Shop()
    shop.release("r1")
    shop.s3.objects["models", "training/r2/output/model.tar.gz"] = archive("r2")
    assert shop.publish("r2", REALTIME)["endpoint_name"] == "tugboat-test-demo-realtime"
    assert shop.served() == ("tugboat-test-demo", "tugboat-test-demo--r1"), (
        "the new endpoint is not proved yet"
    )
    shop.sagemaker.finish()
    shop.release("r2", REALTIME)
    assert shop.served() == ("tugboat-test-demo-realtime", "tugboat-test-demo--r2")
    assert "tugboat-test-demo" in shop.sagemaker.endpoints, "a rollback needs it"


@pytest.mark.parametrize(("before", "after"), [(SETTINGS, REALTIME), (REALTIME, SETTINGS)])
def test_a_rollback_across_kinds_is_at_once_and_can_be_undone(
    before: PublishSettings, after: PublishSettings
) -> None:
    shop = Shop()
    shop.release("r1", before)
    shop.release("r2", after)
    assert shop.rollback("previous", after)["endpoint_status"] == "InService"
    assert shop.served() == (before.endpoint("demo"), "tugboat-test-demo--r1")
    assert shop.rollback("previous", after)["endpoint_status"] == "InService"
    assert shop.served() == (after.endpoint("demo"), "tugboat-test-demo--r2")


@pytest.mark.parametrize(("before", "after"), [(SETTINGS, REALTIME), (REALTIME, SETTINGS)])
def test_the_second_release_of_the_new_kind_deletes_the_endpoint_of_the_old_kind(
    before: PublishSettings, after: PublishSettings
) -> None:
    shop = Shop()
    shop.release("r1", before)
    shop.release("r2", after)
    shop.release("r3", after)
    shop.sagemaker.finish()
    assert shop.sagemaker.endpoints.keys() == {after.endpoint("demo")}
    assert set(shop.sagemaker.configs) == {"tugboat-test-demo--r2", "tugboat-test-demo--r3"}
    assert shop.rollback("previous", after)["model_version"] == "r2"


def test_a_bad_model_on_a_new_kind_of_endpoint_is_never_asked_and_leaves_nothing() -> None:
    shop = Shop()
    shop.release("r1")
    shop.lies = True
    with pytest.raises(GoldenMismatch):
        shop.release("r2", REALTIME)
    assert shop.rollback("current", REALTIME)["endpoint_name"] == "tugboat-test-demo"
    shop.sagemaker.finish()
    assert shop.served() == ("tugboat-test-demo", "tugboat-test-demo--r1")
    assert shop.sagemaker.endpoints.keys() == {"tugboat-test-demo"}


def test_an_endpoint_that_is_still_being_created_is_deleted_by_a_later_try() -> None:
    shop = Shop()
    shop.s3.objects["models", "training/r1/output/model.tar.gz"] = archive("r1")
    shop.publish("r1")
    with pytest.raises(EndpointBusy, match="Creating"):
        shop.rollback("current")
    shop.sagemaker.finish()
    shop.rollback("current")
    shop.sagemaker.finish()
    assert shop.sagemaker.endpoints == {}


def test_a_proved_realtime_endpoint_scales_and_an_update_stops_scaling_until_it_is_proved() -> None:
    shop = Shop()
    shop.release("r1", REALTIME)
    assert shop.autoscaling.targets == {TARGET: (1, 3)}
    assert shop.autoscaling.policies[TARGET]["TargetValue"] == 600.0
    shop.s3.objects["models", "training/r2/output/model.tar.gz"] = archive("r2")
    shop.publish("r2", REALTIME)
    assert shop.autoscaling.targets == {}, "SageMaker would refuse another instance type"
    shop.sagemaker.finish()
    shop.release("r2", REALTIME)
    assert shop.autoscaling.targets == {TARGET: (1, 3)}


def test_a_serverless_endpoint_does_not_scale_by_instances() -> None:
    shop = Shop()
    shop.release("r1")
    assert shop.autoscaling.targets == {}


def test_a_repeated_rollback_of_the_same_release_changes_nothing() -> None:
    shop = Shop()
    shop.release("r1")
    shop.release("r2")
    event: RollbackEvent = {"to": "previous", "shop_id": "demo", "from_config": "tugboat-test-demo--r2"}
    for _ in range(2):
        back = shop.undo(event)
        assert back["endpoint_config_name"] == "tugboat-test-demo--r1"
        shop.sagemaker.finish()
    assert shop.served() == ("tugboat-test-demo", "tugboat-test-demo--r1")


def published(execution: EndedExecution, settings: PublishSettings = SETTINGS) -> Shop:
    """A shop whose endpoint serves a proved release, and is moving to the unproved release of an execution."""
    shop = Shop()
    shop.release("r1")
    run_id = run_of(execution)
    shop.s3.objects["models", f"training/{run_id}/output/model.tar.gz"] = archive(run_id)
    shop.publish(run_id, settings)
    return shop


@pytest.mark.parametrize("status", ["ABORTED", "FAILED", "TIMED_OUT"])
def test_the_unproved_release_of_a_run_that_ended_is_undone(
    status: Literal["ABORTED", "FAILED", "TIMED_OUT"],
) -> None:
    execution = ended("stopped", status)
    shop = published(execution)
    shop.sagemaker.finish()
    assert shop.undo({"to": "current", "ended": execution})["endpoint_config_name"] == "tugboat-test-demo--r1"
    shop.sagemaker.finish()
    assert shop.served() == ("tugboat-test-demo", "tugboat-test-demo--r1")
    assert shop.undo({"to": "current", "ended": execution})["endpoint_status"] == "Unchanged"


def test_an_endpoint_that_still_moves_to_the_unproved_release_is_moved_back_when_it_is_ready() -> None:
    execution = ended("stopped")
    shop = published(execution)
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            shop.sagemaker.finish()

    shop.undo({"to": "current", "ended": execution}, remaining_ms=900_000, sleep=sleep)
    assert waits == [0.0, BUSY_POLL_S, BUSY_POLL_S]
    assert shop.served() == ("tugboat-test-demo", "tugboat-test-demo--r1")


def test_a_lambda_whose_time_ends_reports_a_busy_endpoint_so_that_it_is_invoked_again() -> None:
    execution = ended("stopped")
    shop = published(execution)
    with pytest.raises(EndpointBusy):
        shop.undo({"to": "current", "ended": execution}, remaining_ms=30_000)


def test_a_rollback_within_the_state_machine_does_not_take_a_moving_endpoint_for_one_that_moved_back() -> (
    None
):
    shop = published(ended("stopped"))
    with pytest.raises(EndpointBusy):
        shop.rollback("current")


def test_the_release_of_another_run_stays() -> None:
    shop = published(ended("later"))
    before = shop.sagemaker.endpoints["tugboat-test-demo"].copy()
    for execution in (ended("stopped"), ended("failed", "FAILED")):
        assert shop.undo({"to": "current", "ended": execution})["endpoint_status"] == "Unchanged"
    assert shop.sagemaker.endpoints["tugboat-test-demo"] == before


def test_a_release_that_was_proved_before_its_run_was_aborted_stays() -> None:
    execution = ended("stopped-in-unlock")
    shop = Shop()
    shop.release("r1")
    shop.release(run_of(execution))
    assert shop.undo({"to": "current", "ended": execution})["endpoint_status"] == "Unchanged"
    assert shop.served()[1] == release_name("tugboat-test", "demo", run_of(execution))
    shop.sagemaker.finish()
    shop.rollback("previous")
    assert shop.undo({"to": "current", "ended": execution})["endpoint_status"] == "Unchanged"


def test_a_first_release_of_an_aborted_run_leaves_no_endpoint() -> None:
    execution = ended("first")
    shop, run_id = Shop(), run_of(execution)
    assert shop.undo({"to": "current", "ended": execution})["endpoint_status"] == "Unchanged"
    shop.s3.objects["models", f"training/{run_id}/output/model.tar.gz"] = archive(run_id)
    shop.publish(run_id)
    shop.sagemaker.finish()
    assert shop.undo({"to": "current", "ended": execution})["endpoint_status"] == "Deleting"
    shop.sagemaker.finish()
    assert shop.sagemaker.endpoints == {}


def test_an_aborted_run_on_a_new_kind_of_endpoint_leaves_the_old_kind_alone() -> None:
    execution = ended("stopped")
    shop = published(execution, REALTIME)
    shop.sagemaker.finish()
    shop.undo({"to": "current", "ended": execution}, REALTIME)
    shop.sagemaker.finish()
    assert shop.sagemaker.endpoints.keys() == {"tugboat-test-demo"}


@pytest.mark.parametrize("status", ["ABORTED", "FAILED", "TIMED_OUT"])
def test_the_release_of_a_run_that_was_redriven_is_left_to_the_run(
    status: Literal["ABORTED", "FAILED", "TIMED_OUT"],
) -> None:
    execution = ended("stopped", status)
    shop = published(execution)
    shop.sagemaker.finish()
    shop.states.redriven.add(execution["arn"])
    assert shop.undo({"to": "current", "ended": execution})["endpoint_status"] == "Unchanged"
    assert shop.served() == ("tugboat-test-demo", f"tugboat-test-demo--{run_of(execution)}")
    shop.states.redriven.clear()
    shop.undo({"to": "current", "ended": execution})
    shop.sagemaker.finish()
    assert shop.served() == ("tugboat-test-demo", "tugboat-test-demo--r1")


def test_a_run_that_is_redriven_during_the_wait_for_its_last_step_keeps_its_release() -> None:
    execution = ended("stopped")
    execution["stopped_at_ms"] = time.time_ns() // 1_000_000
    shop = published(execution)
    shop.sagemaker.finish()
    shop.undo(
        {"to": "current", "ended": execution}, sleep=lambda _: shop.states.redriven.add(execution["arn"])
    )
    assert shop.served() == ("tugboat-test-demo", f"tugboat-test-demo--{run_of(execution)}")


def test_the_last_step_of_an_aborted_run_ends_before_its_release_is_undone() -> None:
    execution = ended("stopped")
    execution["stopped_at_ms"] = time.time_ns() // 1_000_000
    shop = Shop()
    shop.release("r1")
    run_id = run_of(execution)
    shop.s3.objects["models", f"training/{run_id}/output/model.tar.gz"] = archive(run_id)
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        """Publish, which the abort did not stop, moves the endpoint during the wait."""
        waits.append(seconds)
        shop.publish(run_id)
        shop.sagemaker.finish()

    shop.undo({"to": "current", "ended": execution}, sleep=sleep)
    assert waits == [pytest.approx(300, abs=10)]
    assert shop.served() == ("tugboat-test-demo", "tugboat-test-demo--r1")


def test_a_model_is_not_recorded_if_the_endpoint_was_moved_back_while_it_was_proved() -> None:
    shop = Shop()
    shop.release("r1")
    shop.s3.objects["models", "training/r2/output/model.tar.gz"] = archive("r2")
    made = shop.publish("r2")
    shop.sagemaker.finish()

    def answer(question: dict[str, Any]) -> dict[str, Any]:
        if shop.sagemaker.endpoints["tugboat-test-demo"]["EndpointStatus"] == "InService":
            shop.rollback("current")
        return {"items": [{"item_id": "r2-1", "score": 1}, {"item_id": "r2-2", "score": 0.5}]}

    with pytest.raises(GoldenMismatch, match="moves to tugboat-test-demo--r1"):
        prove(proof_of("r2", made), SETTINGS, shop.sagemaker, FakeEndpoint(answer), shop.autoscaling, shop.s3)
    assert shop.s3.json("models", current_key("demo"))["release"]["run_id"] == "r1"


def test_a_new_model_is_proved_on_an_endpoint_of_its_own_and_the_served_one_stays() -> None:
    shop = Shop()
    shop.release("r1")
    before = shop.sagemaker.endpoints["tugboat-test-demo"].copy()
    proof = shop.release("r2", target="candidate")
    assert proof["overlap"] == 1.0
    assert shop.sagemaker.endpoints["tugboat-test-demo"] == before
    assert (
        shop.sagemaker.endpoints["tugboat-test-demo-candidate"]["EndpointConfigName"]
        == "tugboat-test-demo--r2"
    )
    assert shop.served() == ("tugboat-test-demo", "tugboat-test-demo--r1"), "a proof alone records nothing"
    shop.release("r2")
    shop.sagemaker.finish()
    assert shop.served() == ("tugboat-test-demo", "tugboat-test-demo--r2")
    assert shop.sagemaker.endpoints.keys() == {"tugboat-test-demo"}, "the candidate's endpoint is deleted"


@pytest.mark.parametrize("settings", [SETTINGS, REALTIME])
def test_a_bad_candidate_reaches_no_endpoint_that_a_shopper_asks(settings: PublishSettings) -> None:
    shop = Shop()
    shop.release("r1", settings)
    before = shop.sagemaker.endpoints[settings.endpoint("demo")].copy()
    shop.lies = True
    with pytest.raises(GoldenMismatch, match=f"endpoint {settings.candidate('demo')} gives"):
        shop.release("r2", settings, "candidate")
    assert shop.rollback("current", settings)["endpoint_config_name"] == "tugboat-test-demo--r1"
    shop.sagemaker.finish()
    assert shop.sagemaker.endpoints == {settings.endpoint("demo"): before}
    assert shop.autoscaling.targets.keys() == ({TARGET} if settings is REALTIME else set())


def canaried(run_id: str = "r2") -> Shop:
    """A shop that serves r1, and whose candidate has 5 % of the sessions."""
    shop = Shop()
    shop.release("r1")
    shop.release(run_id, target="candidate")
    assert shop.canary(run_id) == {"share": 5, "over": False, "wait_s": 60, "verdict": ""}
    assert shop.asked() == run_id
    return shop


def test_a_canary_that_was_not_worse_becomes_the_release_and_the_record_ends_it() -> None:
    shop = canaried()
    assert shop.canary("r2", 5)["share"] == 25
    over = shop.canary("r2", 25)
    assert (over["share"], over["over"]) == (25, True)
    assert shop.asked() == "r2", "the share stays until the stage's endpoint serves the model"
    assert shop.release("r2", canaried=True)["previous_endpoint_config"] == "tugboat-test-demo--r1"
    assert (shop.asked(), shop.served()[1]) == (None, "tugboat-test-demo--r2")
    assert shop.release("r2", canaried=True)["previous_endpoint_config"] == "tugboat-test-demo--r1"


def test_a_rollback_of_the_run_takes_the_canary_back_and_deletes_its_endpoint() -> None:
    shop = canaried()
    assert shop.rollback("current")["model_version"] == "r1"
    assert shop.asked() is None
    shop.sagemaker.finish()
    assert shop.sagemaker.endpoints.keys() == {"tugboat-test-demo"}
    assert shop.served() == ("tugboat-test-demo", "tugboat-test-demo--r1")


def test_make_rollback_during_a_canary_takes_the_canary_back_and_the_run_then_stops() -> None:
    shop = canaried()
    event: RollbackEvent = {"to": "previous", "shop_id": "demo", "from_config": "tugboat-test-demo--r2"}
    for _ in range(2):
        assert shop.undo(event)["model_version"] == "r1"
        assert (shop.asked(), shop.served()[1]) == (None, "tugboat-test-demo--r1")
    with pytest.raises(CanaryWithdrawn, match="withdrawn at 5%"):
        shop.canary("r2", 5)
    with pytest.raises(CanaryWithdrawn, match="is not released"):
        shop.release("r2", canaried=True)
    assert shop.served()[0] == "tugboat-test-demo"
    assert shop.s3.json("models", current_key("demo"))["release"]["run_id"] == "r1"


def test_an_aborted_run_leaves_no_canary() -> None:
    execution = ended("stopped")
    shop = canaried(run_of(execution))
    assert shop.undo({"to": "current", "ended": execution})["model_version"] == "r1"
    assert shop.asked() is None
    shop.sagemaker.finish()
    assert shop.sagemaker.endpoints.keys() == {"tugboat-test-demo"}
    assert shop.undo({"to": "current", "ended": execution})["endpoint_status"] == "Unchanged"


def test_a_canary_that_an_earlier_run_left_ends_before_the_next_candidate_gets_its_endpoint() -> None:
    shop = canaried()
    shop.s3.objects["models", "training/r3/output/model.tar.gz"] = archive("r3")
    shop.publish("r3", target="candidate")
    assert shop.asked() is None
    # A repeated publication of the canary's own run leaves it.
    shop = canaried()
    shop.publish("r2", target="candidate")
    assert shop.asked() == "r2"


SHOPS = ("demo", "demo-two", "Demo.2")


def test_shops_share_neither_endpoints_nor_models_nor_records() -> None:
    """The name of the second shop begins with that of the first, and the third one's is no name of AWS."""
    shop = Shop()
    for number in (1, 2, 3):
        for one, shop_id in enumerate(SHOPS):
            shop.release_of(shop_id, f"{shop_id[-1]}{one}{number}")
    for one, shop_id in enumerate(SHOPS):
        record = read_record(shop.s3, "models", shop_id)
        assert record.current is not None
        assert record.previous is not None
        assert (record.current.run_id, record.previous.run_id) == (
            f"{shop_id[-1]}{one}3",
            f"{shop_id[-1]}{one}2",
        )
        assert record.current.endpoint == SETTINGS.endpoint(shop_id)
        assert config_of(shop.sagemaker.endpoints[record.current.endpoint]) == record.current.endpoint_config
        assert shop.s3.json("models", fallback_key(shop_id))["popular"] == [record.current.run_id]
    assert len(shop.sagemaker.configs) == len(shop.sagemaker.models) == 2 * len(SHOPS)
    assert served_shops(shop.s3, "models") == sorted(SHOPS)


def test_a_rollback_of_one_shop_leaves_the_other_as_it_is() -> None:
    shop = Shop()
    for run_id in ("r1", "r2"):
        shop.release(run_id)
        shop.release_of("second", f"s-{run_id}")
    before = read_record(shop.s3, "models", "second")
    assert shop.rollback("previous")["model_version"] == "r1"
    assert read_record(shop.s3, "models", "second") == before
    assert config_of(shop.sagemaker.endpoints["tugboat-test-second"]) == "tugboat-test-second--s-r2"


def test_an_aborted_run_is_undone_on_the_endpoint_of_the_shop_in_its_input() -> None:
    shop = Shop()
    shop.release_of("second", "s1")
    execution = ended("aborted")
    shop.states.inputs[execution["arn"]] = {"shop_id": "second"}
    shop.release("r1")
    run_id = run_of(execution)
    event: PublishEvent = {
        "run_id": run_id,
        "shop_id": "second",
        "model_data_uri": "s3://models/training/s1/output/model.tar.gz",
        "target": "stage",
    }
    publish(event, SETTINGS, shop.sagemaker, shop.autoscaling, shop.s3)
    shop.sagemaker.finish()
    assert shop.undo({"to": "current", "ended": execution})["endpoint_name"] == "tugboat-test-second"
    assert config_of(shop.sagemaker.endpoints["tugboat-test-second"]) == "tugboat-test-second--s1"


def test_what_has_no_shop_in_its_name_goes_when_no_shop_needs_it() -> None:
    """A stage from before it could serve several shops has one endpoint and releases without a shop in their names."""
    shop = Shop()
    old = "tugboat-test-20261129-1a2b3c4d5e6f"
    shop.s3.objects["models", "serving/old.tar.gz"] = archive("old")
    shop.sagemaker.create_model(
        ModelName=old, PrimaryContainer={"ModelDataUrl": "s3://models/serving/old.tar.gz"}
    )
    shop.sagemaker.create_endpoint_config(EndpointConfigName=old, ProductionVariants=[{"ModelName": old}])
    shop.sagemaker.create_endpoint("tugboat-test", old)
    shop.sagemaker.finish()
    release = {
        "endpoint": "tugboat-test",
        "endpoint_config": old,
        "model_name": old,
        "model_version": "old",
        "model_data_uri": "s3://models/serving/old.tar.gz",
        "snapshot_id": "s",
        "run_id": "20261129-1a2b3c4d5e6f",
        "published_at": "2026-11-29T00:00:00+00:00",
        "shop_id": "demo",
    }
    record = {"release": release, "previous": None}
    shop.s3.objects["models", current_key("demo")] = json.dumps(record).encode()
    shop.release_of("second", "s1")
    assert shop.served() == ("tugboat-test", old), "another shop's run deletes nothing of it"
    shop.release("r1")
    assert shop.served() == ("tugboat-test-demo", "tugboat-test-demo--r1")
    assert "tugboat-test" in shop.sagemaker.endpoints, "a rollback needs it"
    shop.release("r2")
    assert shop.sagemaker.endpoints["tugboat-test"]["EndpointStatus"] == "Deleting"
    assert old not in shop.sagemaker.configs
    assert old not in shop.sagemaker.models
