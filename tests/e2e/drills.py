"""Situations that no ordinary run meets, so that each permission of each role is used once.

A refusal is made by a Deny in one more policy of the role, as an administrator's mistake would make it.
"""

import contextlib
import gzip
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from deploy.erase import WAREHOUSE_PHASES
from functions.platform.catalogue_store import read_state
from functions.platform.s3_keys import current_key
from local.aws.proxy_event import Request, build_event
from local.testing import wait_for
from testing import deployment
from testing.leftovers import files_with
from testing.stage import EVENTS_BUCKET, LOCAL, MACHINE, MODELS_BUCKET, Run, Stage
from tests.e2e import aisles

ROLES = f"arn:aws:iam::{LOCAL.account_id}:role/"


@contextmanager
def denied(stage: Stage, role: str, action: str) -> Iterator[None]:
    """Deny an action to a role for the duration of the block."""
    iam = stage.client("iam")
    statement = {"Effect": "Deny", "Action": action, "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_role_policy(RoleName=role, PolicyName="drill", PolicyDocument=document)
    try:
        yield
    finally:
        iam.delete_role_policy(RoleName=role, PolicyName="drill")


# The endpoint of the shop of most tests.
ENDPOINT = LOCAL.endpoint_name("demo")


def park_events(stage: Stage) -> int:
    """Send and replay events while Firehose refuses them; return how many of those sent arrived in raw/."""
    events = list(aisles.events(aisles.visits()[:2]))
    nonsense = {**events[0], "event_name": "dance"}
    with denied(stage, f"{LOCAL.prefix}-collect", "firehose:PutRecordBatch"):
        sent = stage.send([*events, nonsense])
    with denied(stage, f"{LOCAL.prefix}-replay", "firehose:PutRecordBatch"):
        stage.replay("raw")
    return sent.landed or 0


def send_through_the_api(stage: Stage) -> list[int]:
    """Send events to the API's Lambda, which gets them between the two steps of a deployment.

    Returns:
        The status of two requests: one delivered through Firehose, one while Firehose refuses it.
    """
    event = next(aisles.events(aisles.visits()[:1]))
    body = json.dumps({"sent_at_ms": event["client_time_ms"], "events": [event]}).encode()
    proxy_event = _asked(stage, "POST", "/events", body, "demo")
    delivered = _invoke(stage, "", proxy_event)
    with denied(stage, f"{LOCAL.prefix}-api_handler", "firehose:PutRecordBatch"):
        parked = _invoke(stage, "", proxy_event)
    return [int(response["statusCode"]) for response in (delivered, parked)]


def change_catalogues(stage: Stage) -> list[int]:
    """Change products of a shop that has a state and of one that has none, by way of either Lambda, each request twice.

    Returns:
        The status of the second requests.
    """
    line = b'{"item_id": "nobody-asks-for-it", "availability": "out_of_stock"}\n'
    statuses = []
    for shop, step in (("demo", "collect"), ("smoke", "")):
        asked = _asked(stage, "PUT", "/catalogue", line, shop, ("Idempotency-Key", "drill"))

        def put(step: str = step, asked: dict[str, Any] = asked) -> int:
            return int(_invoke(stage, step, asked)["statusCode"])

        # A Lambda looks for a key that it does not know at most once a minute.
        wait_for(lambda put=put: put() == 200, 90, 2)  # type: ignore[misc]
        statuses.append(put())
        wait_for(lambda shop=shop: _is_sold_out(stage, shop), 60)  # type: ignore[misc]
    return statuses


def _is_sold_out(stage: Stage, shop: str) -> bool:
    state = read_state(stage.client("s3"), MODELS_BUCKET, shop).state
    return state is not None and not state.is_available("nobody-asks-for-it")


def _asked(
    stage: Stage, method: str, path: str, body: bytes, shop: str, *headers: tuple[str, str]
) -> dict[str, Any]:
    """Return the event of a request with the shop's secret key, as API Gateway sends it to a Lambda."""
    authorization = ("Authorization", f"Bearer {stage.secret_key(shop)}")
    given = [("Content-Type", "application/json"), authorization, *headers]
    return build_event(
        Request(method, path, "", given, body, "203.0.113.9"),
        api_id="drill",
        stage="api",
        resource=path,
        path=path,
        path_parameters={},
        binary_types=[],
        trace="Root=1-5e272390-8c398be037738dc042009320",
    )


def pack_a_day(stage: Stage) -> tuple[dict[str, Any], list[int], list[int]]:
    """Pack files of an earlier day, and delete them as the lifecycle of the bucket does.

    Returns:
        The answer of a compaction that lets files expire, and the lines per file of two replays: before and after it.
    """
    s3, folder = stage.client("s3"), "raw/2026/10/01/05/"
    listed = s3.list_objects_v2(Bucket=EVENTS_BUCKET, Prefix="raw/")["Contents"]
    delivered = next(one["Key"] for one in listed if f"/{LOCAL.prefix}-events" in one["Key"])
    for name in ("a", "b"):
        source = {"Bucket": EVENTS_BUCKET, "Key": delivered}
        s3.copy_object(Bucket=EVENTS_BUCKET, Key=f"{folder}{name}.gz", CopySource=source)
    period = {"archive": "raw", "from_hour": "2026-10-01T00", "to_hour": "2026-10-01T23"}
    before = _replayed_lines(stage, period)
    let_raw_files_expire(stage)
    packed = _invoke(stage, "compact", {"from_day": "2026-10-01", "to_day": "2026-10-01"})
    for one in s3.list_objects_v2(Bucket=EVENTS_BUCKET, Prefix=folder)["Contents"]:
        tags = s3.get_object_tagging(Bucket=EVENTS_BUCKET, Key=one["Key"])["TagSet"]
        if {"Key": "packed", "Value": "true"} in tags:
            s3.delete_object(Bucket=EVENTS_BUCKET, Key=one["Key"])
    assert s3.list_objects_v2(Bucket=EVENTS_BUCKET, Prefix=folder)["KeyCount"] == 0
    return packed, before, _replayed_lines(stage, period)


def let_raw_files_expire(stage: Stage) -> None:
    """Make `compact` tag packed raw files."""
    lambda_, compact = stage.client("lambda"), f"{LOCAL.prefix}-compact"
    variables = lambda_.get_function_configuration(FunctionName=compact)["Environment"]["Variables"]
    expiring = {"Variables": variables | {"TUGBOAT_RAW_EXPIRE_DAYS": "90"}}
    lambda_.update_function_configuration(FunctionName=compact, Environment=expiring)


def _replayed_lines(stage: Stage, period: dict[str, Any]) -> list[int]:
    """Replay a period, and return the lines that each call sent."""
    sent, following = [], period
    while following:
        answer = _invoke(stage, "replay", following)
        assert answer["read"] == answer["sent"], answer
        sent.append(answer["sent"])
        following = answer["continue_with"]
    return sent


ERASED, ERASED_USER = "erase-me-5d41402a", "erase-user-7b52009b"


def erase_before_any_model(stage: Stage) -> dict[str, Any]:
    """Erase a client that nobody knows, before there are tables or a release; return the certificate's counts."""
    person = {"client": "nobody-9a0364b9"}
    result = _invoke(stage, "erase_rows", person)
    assert result["phase"] == "begin", result
    while result["phase"] != "done":
        result = _invoke(stage, "erase_rows" if result["phase"] in WAREHOUSE_PHASES else "erase", person)
    return dict(result["certificate"]["erased"])


def erase_a_person(stage: Stage) -> tuple[dict[str, Any], list[str]]:
    """Send, load, pack and refuse events of a person, erase the person, and replay what is left.

    Returns:
        The certificate, and each file of the local stack that still contains one of the person's ids.
    """
    s3, state = stage.client("s3"), stage.stack.state
    theirs = {"client_id": ERASED, "session_id": ERASED, "user_id": ERASED_USER}
    events = [
        {**event, **theirs, "event_id": f"{ERASED}-{number}"}
        for number, event in enumerate(aisles.events(aisles.visits()[:2]))
    ]
    stage.send([*events, {**events[0], "event_name": "dance"}])
    rejected = wait_for(lambda: _objects_with(s3, "rejected/", ERASED), 60, 1)
    [first, *_] = _objects_with(s3, "raw/", ERASED)
    packed_key = "raw/2026/10/02/05/a.gz"
    s3.copy_object(Bucket=EVENTS_BUCKET, Key=packed_key, CopySource={"Bucket": EVENTS_BUCKET, "Key": first})
    repaired = {"Bucket": EVENTS_BUCKET, "Key": "raw/2026/10/02/06/repaired.gz"}
    s3.copy_object(**repaired, CopySource={"Bucket": EVENTS_BUCKET, "Key": first})
    s3.put_object(**repaired, Body=gzip.compress(b""))
    let_raw_files_expire(stage)
    assert _invoke(stage, "compact", {"from_day": "2026-10-02", "to_day": "2026-10-02"})["files"] == 2
    for step in ("load", "transform"):
        assert "errorType" not in _invoke(stage, step, {"run_id": "erase"})
    found = files_with(ERASED, state)
    assert len(found) > len(rejected)
    _kill_an_erasure(stage)
    deployment.run("deploy.erase", stage.copy, stage.environment, "--user", ERASED_USER, "--yes")
    [path] = (stage.copy / "build" / "erasures").glob("*.json")
    assert {"Key": "packed", "Value": "true"} in s3.get_object_tagging(Bucket=EVENTS_BUCKET, Key=packed_key)[
        "TagSet"
    ]
    stage.replay("raw")
    for step in ("load", "transform"):
        assert "errorType" not in _invoke(stage, step, {"run_id": "after"})
    left = [*files_with(ERASED, state), *files_with(ERASED_USER, state)]
    return json.loads(path.read_text()), [*left, *files_with(ERASED, stage.copy)]


def _kill_an_erasure(stage: Stage) -> None:
    """Send SIGKILL to the command while its Lambda rewrites raw files."""
    command = [sys.executable, "-m", "deploy.erase", "--stage", "local", "--user", ERASED_USER, "--yes"]
    environment = {**os.environ, **stage.environment, "PYTHONPATH": str(stage.copy)}
    with subprocess.Popen(
        command, cwd=stage.copy, env=environment, stdout=subprocess.PIPE, text=True
    ) as erasing:
        assert erasing.stdout is not None
        printed = []
        for line in erasing.stdout:
            printed.append(line)
            if line.rstrip().endswith("s] raw"):
                break
        erasing.kill()
    assert printed[-1].rstrip().endswith("s] raw"), printed


def _objects_with(s3: Any, prefix: str, text: str) -> list[str]:
    """Return the keys of the gzip files below a prefix that contain a text."""
    found = []
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=EVENTS_BUCKET, Prefix=prefix):
        for one in page.get("Contents", []):
            body = s3.get_object(Bucket=EVENTS_BUCKET, Key=one["Key"])["Body"].read()
            with contextlib.suppress(OSError, EOFError):
                found += [one["Key"]] if text.encode() in gzip.decompress(body) else []
    return found


def roll_back_before_any_model(stage: Stage) -> str:
    """Ask for a rollback of nothing; return the name of the error."""
    return str(_invoke(stage, "rollback", {"to": "previous", "shop_id": "demo"})["errorType"])


def export_again(stage: Stage, run: Run) -> int:
    """Export the snapshot of a run once more, with an item out of stock; return how many items it leaves out."""
    s3, key = stage.client("s3"), "stock/demo.json"
    s3.put_object(Bucket=MODELS_BUCKET, Key=key, Body=json.dumps([aisles.shelved(0, 0, 0)]).encode())
    exported = _invoke(stage, "export", {"run_id": run.run_id, "shop_id": "demo"})
    s3.delete_object(Bucket=MODELS_BUCKET, Key=key)
    bucket, _, manifest = exported["manifest_uri"].removeprefix("s3://").partition("/")
    return int(json.load(s3.get_object(Bucket=bucket, Key=manifest)["Body"])["out_of_stock"])


def replay_a_refused_receipt(stage: Stage, receipt: str) -> int:
    """Replay an event that an earlier contract refused, with a receipt; return how many events are sent."""
    now_ms = time.time_ns() // 1_000_000
    event = {
        **next(aisles.events(aisles.visits()[:1])),
        "event_id": "refused-with-receipt",
        "receipt": receipt,
    }
    line = {"index": 0, "event_id": event["event_id"], "reason": "unknown_event_name", "message": ""}
    line |= {"payload": json.dumps(event), "sender": "demo", "source": "events", "request_id": "drill"}
    line |= {"received_at_ms": now_ms, "sent_at_ms": None, "ip_prefix": "203.0.113.0/24"}
    # A page's event of the aisles' time would be too old.
    line |= {"device": "other", "is_bot": False, "trusted": True}
    stage.client("s3").put_object(
        Bucket=EVENTS_BUCKET,
        Key=f"rejected/{time.strftime('%Y/%m/%d/%H', time.gmtime())}/refused.gz",
        Body=gzip.compress(json.dumps(line).encode() + b"\n"),
    )
    return sum(answer["sent"] for answer in stage.replay("rejected"))


def interrupt_delivery(stage: Stage) -> list[str]:
    """Send events while Firehose may not write to S3; return the errors in its log group."""
    logs, group = stage.client("logs"), f"/aws/kinesisfirehose/{LOCAL.prefix}"

    def errors() -> list[str]:
        found = logs.filter_log_events(logGroupName=group)["events"]
        return [event["message"] for event in found]

    with denied(stage, f"{LOCAL.prefix}-firehose", "s3:PutObject"):
        stage.client("firehose").put_record(
            DeliveryStreamName=f"{LOCAL.prefix}-events", Record={"Data": b"{}\n"}
        )
        return list(wait_for(errors, 60, 0.5))


def start_by_schedule(stage: Stage) -> str:
    """Deliver an event to the target of the nightly rule; return the ARN of the execution that it started, and stop it."""
    events, states = stage.client("events"), stage.client("stepfunctions")
    (target,) = events.list_targets_by_rule(Rule=f"{LOCAL.prefix}-nightly")["Targets"]
    before = {one["executionArn"] for one in states.list_executions(stateMachineArn=MACHINE)["executions"]}
    events.put_rule(Name="drill", EventPattern=json.dumps({"source": ["drill"]}))
    events.put_targets(Rule="drill", Targets=[{**target, "Input": json.dumps({"skip_training": True})}])
    events.put_events(Entries=[{"Source": "drill", "DetailType": "drill", "Detail": "{}"}])

    def started() -> set[str]:
        listed = states.list_executions(stateMachineArn=MACHINE)["executions"]
        return {one["executionArn"] for one in listed} - before

    (arn,) = wait_for(started, 30)
    states.stop_execution(executionArn=arn)
    wait_for(lambda: states.describe_execution(executionArn=arn)["status"] != "RUNNING", 60, 0.25)
    return str(arn)


def stop_a_night(stage: Stage) -> str:
    """Stop a night while it makes the tables; return the status of the execution that makes them."""
    states = stage.client("stepfunctions")
    arn = stage.start_night(["own"])

    def inner() -> str | None:
        listed = states.list_executions(stateMachineArn=MACHINE, statusFilter="RUNNING")["executions"]
        return next((one["executionArn"] for one in listed if one["name"].endswith(".tables")), None)

    tables = wait_for(inner, 60)
    states.stop_execution(executionArn=arn)
    wait_for(lambda: states.describe_execution(executionArn=tables)["status"] != "RUNNING", 60, 0.25)
    return str(states.describe_execution(executionArn=tables)["status"])


def time_out_jobs(stage: Stage) -> dict[str, str]:
    """Let one job of each kind run into a timeout under the pipeline's role; return their last status."""
    states, sagemaker = stage.client("stepfunctions"), stage.client("sagemaker")
    name = f"{LOCAL.prefix}-drill-{time.time_ns()}"
    search = f"tb-drill-{int(time.time())}"
    machine = states.create_state_machine(
        name="drill",
        definition=json.dumps(_waiting_jobs(sagemaker, name, search)),
        roleArn=f"{ROLES}{LOCAL.prefix}-pipeline",
    )["stateMachineArn"]
    arn = states.start_execution(stateMachineArn=machine)["executionArn"]
    wait_for(lambda: states.describe_execution(executionArn=arn)["status"] != "RUNNING", 120, 0.5)

    def ended() -> dict[str, str] | None:
        tuning = sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=search)
        found = {
            "training": sagemaker.describe_training_job(TrainingJobName=name)["TrainingJobStatus"],
            "processing": sagemaker.describe_processing_job(ProcessingJobName=name)["ProcessingJobStatus"],
            "tuning": tuning["HyperParameterTuningJobStatus"],
        }
        return None if {"InProgress", "Stopping"} & set(found.values()) else found

    return dict(wait_for(ended, 60, 0.5))


def _waiting_jobs(sagemaker: Any, name: str, search: str) -> dict[str, Any]:
    """Return a definition that starts one job of each kind and waits for each at most two seconds."""
    listed = sagemaker.list_training_jobs()["TrainingJobSummaries"]
    completed = next(one for one in listed if one["TrainingJobStatus"] == "Completed")
    earlier = sagemaker.describe_training_job(TrainingJobName=completed["TrainingJobName"])
    wanted = ("AlgorithmSpecification", "RoleArn", "InputDataConfig", "OutputDataConfig", "ResourceConfig")
    training = {key: earlier[key] for key in wanted}
    training["StoppingCondition"] = {"MaxRuntimeInSeconds": 60}
    settings = {**earlier["HyperParameters"], "epochs": "500"}
    parallel = {
        "createTrainingJob": {"TrainingJobName": name, "HyperParameters": settings, **training},
        "createProcessingJob": {
            "ProcessingJobName": name,
            "RoleArn": earlier["RoleArn"],
            "AppSpecification": {
                "ImageUri": earlier["AlgorithmSpecification"]["TrainingImage"],
                "ContainerEntrypoint": ["sleep", "60"],
            },
            "ProcessingResources": {
                "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
            },
        },
        "createHyperParameterTuningJob": {
            "HyperParameterTuningJobName": search,
            "HyperParameterTuningJobConfig": {
                "Strategy": "Random",
                "ResourceLimits": {"MaxNumberOfTrainingJobs": 1, "MaxParallelTrainingJobs": 1},
                "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "valid_mrr_at_20"},
                "ParameterRanges": {
                    "ContinuousParameterRanges": [
                        {"Name": "learning_rate", "MinValue": "0.001", "MaxValue": "0.002"}
                    ]
                },
            },
            "TrainingJobDefinition": {**training, "StaticHyperParameters": settings},
        },
    }
    branches = [
        {
            "StartAt": action,
            "States": {
                action: {
                    "Type": "Task",
                    "Resource": f"arn:aws:states:::sagemaker:{action}.sync",
                    "Arguments": arguments,
                    "TimeoutSeconds": 2,
                    "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "TimedOut"}],
                    "End": True,
                },
                "TimedOut": {"Type": "Pass", "End": True},
            },
        }
        for action, arguments in parallel.items()
    ]
    return {
        "QueryLanguage": "JSONata",
        "StartAt": "Jobs",
        "States": {"Jobs": {"Type": "Parallel", "Branches": branches, "End": True}},
    }


def leave_a_canary(stage: Stage, run: Run) -> Any:
    """Let Publish meet the canary of a run that was killed; return the canary on record afterwards."""
    s3 = stage.client("s3")
    place = {"Bucket": MODELS_BUCKET, "Key": current_key("demo")}
    record = json.loads(s3.get_object(**place)["Body"].read())
    left = {**record["release"], "endpoint": f"{ENDPOINT}-candidate", "endpoint_config": "left-behind"}
    canary = {"release": left, "share": 5, "began_at_ms": 1}
    s3.put_object(**place, Body=json.dumps({**record, "canary": canary}).encode())
    published = _invoke(stage, "publish", {**_release(stage, run), "target": "candidate"})
    assert "errorType" not in published, published
    _settled(stage, published["endpoint_name"])
    stage.client("sagemaker").delete_endpoint(EndpointName=published["endpoint_name"])
    return json.loads(s3.get_object(**place)["Body"].read()).get("canary")


def replace_failed_endpoints(stage: Stage, run: Run) -> list[str]:
    """Let Publish and Rollback meet a failed endpoint; return the endpoint's status after each."""
    statuses = []
    events = {"publish": _release(stage, run), "rollback": {"to": "current", "shop_id": "demo"}}
    for name, event in events.items():
        _fail_endpoint(stage)
        first = _invoke(stage, name, event)
        assert first.get("errorType") == "EndpointBusy", first
        wait_for(lambda: not _endpoint_exists(stage), 30)
        _invoke(stage, name, event)
        statuses.append(_settled(stage))
    return statuses


def change_the_kind(stage: Stage, runs: Sequence[Run]) -> dict[str, str]:
    """Publish and prove releases at a real-time endpoint, then roll the last one back. The third one deletes the first.

    Returns:
        The status of each endpoint of the stage.
    """
    _set_kind(stage, "realtime")
    for number, run in enumerate(runs):
        # The run's own configuration exists, and it is a serverless one.
        event = {**_release(stage, run), "run_id": f"realtime-{number}-{run.run_id}"}
        release = _invoke(stage, "publish", event)
        assert "errorType" not in release, release
        assert _settled(stage, release["endpoint_name"]) == "InService"
        proved = _invoke(stage, "prove", {**event, **release, "snapshot_id": run.run_id})
        assert "errorType" not in proved, proved
    rolled_back = _invoke(stage, "rollback", {"to": "previous", "shop_id": "demo"})
    assert "errorType" not in rolled_back, rolled_back
    _settled(stage, rolled_back["endpoint_name"])
    wait_for(lambda: not _endpoint_exists(stage), 30)
    listed = stage.client("sagemaker").list_endpoints(NameContains=ENDPOINT)["Endpoints"]
    return {one["EndpointName"]: one["EndpointStatus"] for one in listed}


def _set_kind(stage: Stage, kind: str) -> None:
    lambda_ = stage.client("lambda")
    for name in ("publish", "prove", "rollback"):
        full = f"{LOCAL.prefix}-{name}"
        variables = lambda_.get_function_configuration(FunctionName=full)["Environment"]["Variables"]
        changed = {**variables, "TUGBOAT_ENDPOINT_KIND": kind}
        lambda_.update_function_configuration(FunctionName=full, Environment={"Variables": changed})


def _release(stage: Stage, run: Run) -> dict[str, Any]:
    """Return the event of Publish for a run whose archive is still below training/."""
    listed = stage.client("s3").list_objects_v2(Bucket=MODELS_BUCKET, Prefix="training/")["Contents"]
    (archive,) = (
        one["Key"] for one in listed if run.run_id in one["Key"] and one["Key"].endswith("model.tar.gz")
    )
    return {"run_id": run.run_id, "shop_id": "demo", "model_data_uri": f"s3://{MODELS_BUCKET}/{archive}"}


def _fail_endpoint(stage: Stage) -> None:
    """Replace the endpoint by one whose archive does not exist."""
    sagemaker, name = stage.client("sagemaker"), f"{LOCAL.prefix}-without-archive-{time.time_ns()}"
    endpoint = sagemaker.describe_endpoint(EndpointName=ENDPOINT)
    config = sagemaker.describe_endpoint_config(EndpointConfigName=endpoint["EndpointConfigName"])
    model = sagemaker.describe_model(ModelName=config["ProductionVariants"][0]["ModelName"])
    missing = {
        "Image": model["PrimaryContainer"]["Image"],
        "ModelDataUrl": f"s3://{MODELS_BUCKET}/serving/none.tar.gz",
    }
    sagemaker.create_model(
        ModelName=name, ExecutionRoleArn=model["ExecutionRoleArn"], PrimaryContainer=missing
    )
    variant = {**config["ProductionVariants"][0], "ModelName": name}
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    sagemaker.delete_endpoint(EndpointName=ENDPOINT)
    wait_for(lambda: not _endpoint_exists(stage), 30)
    sagemaker.create_endpoint(EndpointName=ENDPOINT, EndpointConfigName=name)
    assert _settled(stage) == "Failed"


def _settled(stage: Stage, name: str = ENDPOINT) -> str:
    sagemaker = stage.client("sagemaker")

    def status() -> str | None:
        now = sagemaker.describe_endpoint(EndpointName=name)["EndpointStatus"]
        return str(now) if now in ("InService", "Failed") else None

    return str(wait_for(status, 90, 0.5))


def _endpoint_exists(stage: Stage) -> bool:
    listed = stage.client("sagemaker").list_endpoints(NameContains=ENDPOINT)["Endpoints"]
    return any(one["EndpointName"] == ENDPOINT for one in listed)


def _invoke(stage: Stage, name: str, event: dict[str, Any]) -> dict[str, Any]:
    response = stage.client("lambda").invoke(
        FunctionName=f"{LOCAL.prefix}-{name}".rstrip("-"), Payload=json.dumps(event).encode()
    )
    body: dict[str, Any] = json.load(response["Payload"])
    return body
