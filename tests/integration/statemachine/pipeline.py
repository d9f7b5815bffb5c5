"""The state machine on the local AWS, with the Lambdas that need no warehouse, and a job that trains in a moment.

Load, Transform, Validate and Export are replaced: they return what their results are in contracts/step_results.json.
"""

from __future__ import annotations

import io
import json
import uuid
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import chalice
import msgspec
from botocore.exceptions import ClientError

from deploy import template
from functions.platform.contract import LOCK_KEY
from functions.platform.endpoint import config_of
from functions.platform.run_history import Execution, parse, read_history
from functions.platform.s3_keys import champion_prefix, current_key
from local.testing import wait_for
from local.tests.integration.aws.clients import IMAGE, ROLE, Aws
from local.tests.integration.aws.sagemaker import make_archive, serving_image

REPOSITORY = Path(__file__).resolve().parents[3]
DEFINITION: dict[str, Any] = json.loads(template.PIPELINE_FILE.read_text())
NIGHT: dict[str, Any] = json.loads(template.NIGHT_FILE.read_text())
# A minute in an account.
for machine in (DEFINITION, NIGHT):
    machine["States"]["WaitForTurn"]["Seconds"] = 1

# The data of `broken` is refused, and `unserved` is never trained.
SHOPS = ("demo", "second", "broken", "unserved")

REPLACED = """
import time
def load(event, context):
    return {"run_id": event["run_id"], "files_loaded": 1, "rows_loaded": 2, "files_skipped": 0, "files_failed": []}
def slow(event, context):
    time.sleep(4)
    return load(event, context)
def transform(event, context):
    return {"run_id": event["run_id"], "models": [], "seconds": 0.1}
def validate(event, context):
    bad = event["shop_id"] == "broken"
    return {"run_id": event["run_id"], "passed": not bad, "failures": ["no prices"] if bad else [], "overrides": [],
            "checks": 3, "report_uri": "s3://report"}
def export(event, context):
    base = "s3://BUCKET/exports"
    return {"run_id": event["run_id"], "snapshot_id": event["run_id"], "interactions_uri": base + "/interactions",
            "items_uri": base + "/items", "manifest_uri": base, "interactions": 1, "sessions": 1, "items": 1,
            "shop_id": event["shop_id"]}
"""
# The real steps, without Chalice around them.
STEPS = """
from boto3 import client
from functions.platform import settings
def lock(event, context):
    from functions.lock.lock import lock
    return lock(event, settings.lock_settings(), client("s3"), client("stepfunctions"))
def publish(event, context):
    from functions.publish.publish import publish
    scaling = client("application-autoscaling")
    return publish(event, settings.publish_settings(), client("sagemaker"), scaling, client("s3"))
def prove(event, context):
    from functions.prove.prove import prove
    runtime, scaling = client("sagemaker-runtime"), client("application-autoscaling")
    return prove(event, settings.publish_settings(), client("sagemaker"), runtime, scaling, client("s3"))
def canary(event, context):
    from functions.canary.canary import canary
    return canary(event, settings.canary_settings(), client("s3"), client("cloudwatch"))
def shop(event, context):
    from functions.recommend.fallback import stored_fallback
    from functions.recommend.recommend import Recommender, recommend
    from functions.recommend.request import RecommendRequest, Session
    from functions.recommend.served import served_release
    from functions.recommend.shops import Recommenders
    from functions.platform.time_box import Deadline
    environment, s3 = settings.recommend_settings(), client("s3")
    bucket = environment.models_bucket
    shop = event.get("shop_id", "demo")
    recommender = Recommenders(environment, lambda shop: Recommender(
        environment, shop, client("sagemaker-runtime"), served_release(s3, bucket, shop), stored_fallback(s3, bucket, shop)
    )).of(shop)
    return [
        recommend(RecommendRequest([one], 2, [], Session(shop, one)), recommender, Deadline.after(20))._asdict()
        for one in event["sessions"]
    ]
def rollback(event, context):
    from functions.rollback.rollback import rollback
    scaling, remaining_ms = client("application-autoscaling"), context.get_remaining_time_in_millis
    s3, states = client("s3"), client("stepfunctions")
    return rollback(event, settings.publish_settings(), client("sagemaker"), scaling, s3, states, remaining_ms)
"""
TRAIN = """
import argparse, json, os, pathlib, sys, time
parser = argparse.ArgumentParser()
parser.add_argument("--do", default="train")
parser.add_argument("--checkpoint_dir", type=pathlib.Path)
asked, _ = parser.parse_known_args()
steps = asked.checkpoint_dir / "steps"
done = int(steps.read_text()) if steps.exists() else 0
print("resumed at", done, flush=True)
while asked.do == "slowly" and done < 40:
    time.sleep(0.1)
    done += 1
    partial = steps.with_suffix(".partial")
    partial.write_text(str(done))
    partial.replace(steps)
if asked.do == "fail":
    pathlib.Path(os.environ["SM_OUTPUT_DIR"], "failure").write_text("DataError: no sessions to train on")
    sys.exit(1)
model = pathlib.Path(os.environ["SM_MODEL_DIR"])
version = os.environ["TRAINING_JOB_NAME"]
expected = ["another model's item"] if asked.do == "lie" else ["a", "b"]
server = pathlib.Path("server.txt").read_text().replace("DO", asked.do).replace("VERSION", version)
files = {
    "model.json": {"model_version": version},
    "golden.json": [{"items": ["x"], "k": 2, "expected": expected}],
    "fallback.json": {"popular": ["a"], "related": {}},
}
for name, content in files.items():
    (model / name).write_text(json.dumps(content))
(model / "code").mkdir()
(model / "code" / "server.py").write_text(server)
print("epoch=1 loss=0.5", flush=True)
"""
# It answers the golden session well, and the sessions of shoppers as the hyperparameter `do` says.
SERVER = """
import json, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer({})
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        print("VERSION asked for", *asked["items"], flush=True)
        items = [{"item_id": "a", "score": 2}, {"item_id": "b", "score": 1}]
        if asked["items"] != ["x"]:
            time.sleep({"slow": 2}.get("DO", 0))
            items = {"garbage": [{"item": 7}], "short": items[:1]}.get("DO", items)
        self.answer({"items": items, "model_version": "VERSION", "reason": "as asked"})
    def answer(self, body):
        body = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *arguments):
        pass
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
EVALUATE = """
import argparse, json, pathlib
parser = argparse.ArgumentParser()
parser.add_argument("--output", type=pathlib.Path)
asked, _ = parser.parse_known_args()
report = {"passed": True, "failures": [], "metrics": {}, "model_version": "evaluated"}
(asked.output / "evaluation.json").write_text(json.dumps(report))
"""


@dataclass
class Ended:
    """An execution that has ended."""

    arn: str
    status: str
    story: Execution
    messages: list[dict[str, str]]
    described: dict[str, Any]

    def visits(self, state: str) -> int:
        """Return how often the execution entered a state."""
        return sum(one.name == state for one in self.story.states)

    def last(self, state: str) -> Any:
        """Return the last visit of a state."""
        return next(one for one in reversed(self.story.states) if one.name == state)


@dataclass
class Pipeline:
    """A deployed state machine with a bucket, an endpoint and a topic of its own."""

    aws: Aws
    bucket: str
    name: str = field(default_factory=lambda: f"tugboat-{uuid.uuid4().hex[:10]}")
    use_spot: bool = False
    functions: dict[str, str] = field(default_factory=dict)
    arn: str = ""
    night_arn: str = ""
    # With a machine of batches, the stage has batch_nightly.
    batch_arn: str = ""

    @property
    def endpoint(self) -> str:
        """The endpoint of the shop demo."""
        return f"{self.name}-demo"

    def deploy(self, definition: dict[str, Any] | None = None) -> None:
        """Create the state machine, or replace its definition."""
        text = json.dumps(definition or DEFINITION)
        for key, value in self._substitutions().items():
            text = text.replace(f"${{{key}}}", value)
        client = self.aws.client("stepfunctions")
        if self.arn:
            client.update_state_machine(stateMachineArn=self.arn, definition=text)
            return
        self.arn = client.create_state_machine(name=f"{self.name}-pipeline", definition=text, roleArn=ROLE)[
            "stateMachineArn"
        ]

    def _substitutions(self) -> dict[str, str]:
        models = f"s3://{self.bucket}"
        return {
            "NotificationsTopic": self.aws.client("sns").create_topic(Name=self.name)["TopicArn"],
            "SageMakerRoleArn": ROLE,
            "TrainingImage": IMAGE,
            "TrainingInstanceType": "ml.m5.large",
            "ProcessingInstanceType": "ml.m5.large",
            "ModelsBucket": self.bucket,
            "CodeUri": f"{models}/code/source.tar.gz",
            "CodePrefix": f"{models}/code/files/",
            "Prefix": self.name,
            "EndpointPollSeconds": "1",
            "Stage": "test",
            "UseSpot": str(self.use_spot).lower(),
            "FirstShop": "demo",
            "Pipeline": self.arn,
            "BatchNightly": str(bool(self.batch_arn)).lower(),
            "BatchMachine": self.batch_arn,
        } | {f"{title}Function": name for title, name in self.functions.items()}

    def deploy_night(self) -> None:
        """Create the state machine of the night."""
        text = json.dumps(NIGHT)
        for key, value in self._substitutions().items():
            text = text.replace(f"${{{key}}}", value)
        client = self.aws.client("stepfunctions")
        self.night_arn = client.create_state_machine(
            name=f"{self.name}-night", definition=text, roleArn=ROLE
        )["stateMachineArn"]

    def follow_runs_by_batches(self) -> None:
        """Let a batch follow each run, as in a stage with `batch_nightly`. It does nothing."""
        states = {"Made": {"Type": "Pass", "End": True}}
        self.batch_arn = self.aws.client("stepfunctions").create_state_machine(
            name=f"{self.name}-batch",
            definition=json.dumps({"StartAt": "Made", "States": states}),
            roleArn=ROLE,
        )["stateMachineArn"]
        self.deploy()

    def batches(self) -> dict[str, dict[str, Any]]:
        """Return the input of each batch by the name of its execution."""
        client = self.aws.client("stepfunctions")
        listed = client.list_executions(stateMachineArn=self.batch_arn)["executions"]
        return {
            one["name"]: json.loads(client.describe_execution(executionArn=one["executionArn"])["input"])
            for one in listed
        }

    def start_night(self, shops: list[str], do: str = "train", **input_fields: Any) -> str:
        """Start a night for these shops; return its ARN."""
        wanted = {"shops": shops, "hyperparameters": {"do": do}, **input_fields}
        client = self.aws.client("stepfunctions")
        return str(
            client.start_execution(stateMachineArn=self.night_arn, input=json.dumps(wanted))["executionArn"]
        )

    def start(self, name: str | None = None, do: str = "train", **input_fields: Any) -> str:
        """Start an execution; return its ARN. Without the field `canary_seconds` it has no canary."""
        wanted = {"hyperparameters": {"do": do}, **input_fields}
        named = {"name": name} if name else {}
        started = self.aws.client("stepfunctions").start_execution(
            stateMachineArn=self.arn, input=json.dumps(wanted), **named
        )
        return str(started["executionArn"])

    def finish(self, arn: str, timeout_s: float = 120) -> Ended:
        """Wait until an execution has ended."""
        client = self.aws.client("stepfunctions")

        def ended() -> dict[str, Any] | None:
            found: dict[str, Any] = client.describe_execution(executionArn=arn)
            return found if found["status"] != "RUNNING" else None

        described = wait_for(ended, timeout_s, 0.1)
        # Moto answers 500 now and then while a killed execution still writes its history.
        story = parse(wait_for(lambda: _history(client, arn), 10, 0.2))
        messages = [one for one in self.messages() if arn in one["message"] or _name(arn) in one["message"]]
        found = Ended(arn, described["status"], story, messages, described)
        print(found)  # pytest shows this if the test fails
        return found

    def run(self, name: str | None = None, do: str = "train", **input_fields: Any) -> Ended:
        """Run an execution to its end."""
        return self.finish(self.start(name, do, **input_fields))

    def undo_ended_runs(self, step_timeout_s: int) -> None:
        """Create the rule of resources.yaml that undoes the release of a run that did not succeed."""
        rule = template.load_resources()["Resources"]["RunEnded"]["Properties"]
        pattern, (target,) = rule["EventPattern"], rule["Targets"]
        pattern["detail"]["stateMachineArn"] = [self.arn]
        name, function = f"{self.name}-run-ended", self.functions["Rollback"]
        self.aws.permit(function, "events", f"arn:aws:events:us-east-1:123456789012:rule/{name}")
        transformer = target["InputTransformer"]
        written = '"step_timeout_s": 300'
        assert written in transformer["InputTemplate"]
        transformer["InputTemplate"] = transformer["InputTemplate"].replace(
            written, f'"step_timeout_s": {step_timeout_s}'
        )
        events = self.aws.client("events")
        events.put_rule(Name=name, EventPattern=json.dumps(pattern), State=rule["State"])
        arn = f"arn:aws:lambda:us-east-1:123456789012:function:{function}"
        events.put_targets(
            Rule=name, Targets=[{"Id": target["Id"], "Arn": arn, "InputTransformer": transformer}]
        )

    def serving(self) -> tuple[str, str]:
        """Return the status of the endpoint, and the configuration that it serves or moves to."""
        described = self.aws.client("sagemaker").describe_endpoint(EndpointName=self.endpoint)
        return described["EndpointStatus"], config_of(described)

    def use_endpoint_kind(self, kind: str) -> None:
        """Give the steps another kind of endpoint, as a deployment with a changed setting does."""
        self._set("TUGBOAT_ENDPOINT_KIND", kind, "Publish", "Prove", "Rollback")

    def count_anew(self) -> None:
        """Count the figures of a canary under another stage. CloudWatch has those of a whole minute together."""
        self._set("TUGBOAT_STAGE", f"stage-{uuid.uuid4().hex[:8]}", "Canary", "Shop")

    def _set(self, variable: str, value: str, *functions: str) -> None:
        client = self.aws.client("lambda")
        for name in (self.functions[function] for function in functions):
            variables = client.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
            changed = {"Variables": variables | {variable: value}}
            client.update_function_configuration(FunctionName=name, Environment=changed)

    def released(self, shop: str = "demo") -> dict[str, Any]:
        """Return the release of a shop on record."""
        stored = self.aws.client("s3").get_object(Bucket=self.bucket, Key=current_key(shop))["Body"].read()
        release: dict[str, Any] = json.loads(stored)["release"]
        return release

    def canary(self) -> dict[str, Any] | None:
        """Return the canary on record."""
        stored = self.aws.client("s3").get_object(Bucket=self.bucket, Key=current_key("demo"))["Body"].read()
        canary: dict[str, Any] | None = json.loads(stored).get("canary")
        return canary

    def shop(self, sessions: list[str], shop: str = "demo") -> list[dict[str, Any]]:
        """Let each session of a shop ask for recommendations, in a new execution environment; return the answers."""
        response = self.ask(sessions, shop)
        answers: list[dict[str, Any]] = json.load(response["Payload"])
        assert "FunctionError" not in response, answers
        return answers

    def ask(self, sessions: list[str], shop: str) -> dict[str, Any]:
        """Return the response of the Lambda that answers the sessions of a shop."""
        payload = json.dumps({"sessions": sessions, "shop_id": shop})
        response: dict[str, Any] = self.aws.client("lambda").invoke(
            FunctionName=self.functions["Shop"], Payload=payload
        )
        return response

    def asked_of_candidate(self, version: str) -> list[str]:
        """Return the items that a model was asked for on the candidate's endpoint, in their order."""
        path = self.aws.stack.logs / "endpoint" / f"{self.endpoint}-candidate.log"
        before = f"{version} asked for "
        lines = path.read_text().splitlines()
        return [line.removeprefix(before) for line in lines if line.startswith(before)]

    def endpoints(self) -> dict[str, str]:
        """Return the status of each endpoint of this state machine."""
        listed = self.aws.client("sagemaker").list_endpoints(NameContains=self.name)["Endpoints"]
        return {one["EndpointName"]: one["EndpointStatus"] for one in listed}

    def messages(self) -> list[dict[str, str]]:
        """Return the messages on the topic of this state machine."""
        path = self.aws.stack.logs / "notifications.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [one for one in lines if one["topic"].endswith(f":{self.name}")]

    def lock_holder(self) -> str | None:
        """Return the ARN of the execution that holds the lock."""
        s3 = self.aws.client("s3")
        try:
            stored = s3.get_object(Bucket=self.bucket, Key=LOCK_KEY)["Body"].read()
        except s3.exceptions.NoSuchKey:
            return None
        return str(json.loads(stored)["execution_arn"])

    def training_jobs(self) -> list[str]:
        """Return the names of the training jobs of this state machine, oldest first."""
        found = self.aws.client("sagemaker").list_training_jobs(NameContains=self.name)
        return sorted(one["TrainingJobName"] for one in found["TrainingJobSummaries"])


def _history(client: Any, arn: str) -> list[dict[str, Any]] | None:
    try:
        return read_history(client, arn)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 500:
            raise
        return None


def _name(arn: str) -> str:
    return arn.rsplit(":", 1)[1]


def deployed(aws: Aws, use_spot: bool = False) -> Pipeline:
    """Return a pipeline with a bucket and Lambdas of its own."""
    bucket, s3 = aws.make_bucket(), aws.client("s3")
    source = make_archive({"train.py": TRAIN, "server.txt": SERVER})
    s3.put_object(Bucket=bucket, Key="code/source.tar.gz", Body=source)
    s3.put_object(Bucket=bucket, Key="code/files/evaluate.py", Body=EVALUATE.encode())
    for shop in SHOPS:
        s3.put_object(Bucket=bucket, Key=f"{champion_prefix(shop)}README.txt", Body=b"")
    pipeline = Pipeline(aws, bucket, use_spot=use_spot)
    settings = {
        # The figures of a canary are by stage, and all tests share one CloudWatch.
        "TUGBOAT_STAGE": pipeline.name,
        "TUGBOAT_MODELS_BUCKET": bucket,
        "TUGBOAT_PREFIX": pipeline.name,
        "TUGBOAT_ENDPOINT_KIND": "serverless",
        "TUGBOAT_ENDPOINT_MIN_INSTANCES": "1",
        "TUGBOAT_ENDPOINT_MAX_INSTANCES": "3",
        "TUGBOAT_ENDPOINT_REQUESTS_PER_INSTANCE_MINUTE": "600",
        "TUGBOAT_ENDPOINT_MEMORY_MB": "2048",
        "TUGBOAT_ENDPOINT_MAX_CONCURRENCY": "5",
        "TUGBOAT_ENDPOINT_INSTANCE_TYPE": "ml.m5.large",
        "TUGBOAT_INFERENCE_IMAGE": serving_image(aws, bucket),
        "TUGBOAT_SAGEMAKER_ROLE_ARN": ROLE,
        "TUGBOAT_CANARY_SECONDS": "0",
        "TUGBOAT_SHOP": "demo",
        "TUGBOAT_SHOPS": ",".join(SHOPS),
        "TUGBOAT_TRAINED_SHOPS": "demo,second",
        "TUGBOAT_ENDPOINT_TIMEOUT_MS": "600",
        "TUGBOAT_RECEIPTS_SECRET": "receipts",
        "TUGBOAT_GLOBAL_PRIVACY_CONTROL": "obey",
    }
    replaced, steps = _zip({"app.py": REPLACED.replace("BUCKET", bucket)}), _zip({"app.py": STEPS}, real=True)
    for handler in ("load", "slow", "transform", "validate", "export"):
        pipeline.functions[handler.title()] = _create(pipeline, handler, replaced, {})
    for handler in ("lock", "publish", "prove", "canary", "rollback", "shop"):
        pipeline.functions[handler.title()] = _create(pipeline, handler, steps, settings)
    for key in ("interactions", "items"):
        s3.put_object(Bucket=bucket, Key=f"exports/{key}.parquet", Body=b"x")
    pipeline.deploy()
    return pipeline


def _create(pipeline: Pipeline, handler: str, code: bytes, settings: dict[str, str]) -> str:
    name = f"{pipeline.name}-{handler}"
    pipeline.aws.client("lambda").create_function(
        FunctionName=name,
        Runtime="python3.11",
        Role=ROLE,
        Handler=f"app.{handler}",
        Code={"ZipFile": code},
        Timeout=120,
        Environment={"Variables": settings},
    )
    return name


def _zip(members: dict[str, str], real: bool = False) -> bytes:
    """Return a zip of the members, with functions/ and its packages where they are real steps."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
        if real:
            packages = [Path(str(module.__file__)).parent for module in (msgspec, chalice)]
            for folder, base in (
                (REPOSITORY / "functions", REPOSITORY),
                *((package, package.parent) for package in packages),
            ):
                for path in folder.rglob("*"):
                    if path.is_file() and "__pycache__" not in path.parts:
                        archive.write(path, path.relative_to(base))
    return out.getvalue()
