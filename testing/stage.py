"""A deployed stage for end-to-end tests: send events, run executions, read tables, notifications and recommendations."""

import json
import time
import urllib.parse
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from demo.http import Http
from demo.landed import LandingWatch
from demo.replay import Replayed, send
from deploy.secret_key import issue, read
from deploy.stages import read_stage
from functions.platform import warehouse
from functions.platform.contract import EVALUATIONS_PREFIX
from functions.platform.run_history import Execution, parse, read_history
from functions.platform.secret_keys import digest
from local.clients import aws_client
from local.environment import Stack
from local.testing import wait_for
from testing import deployment

LOCAL = read_stage("local")
KEYS = LOCAL.sending_keys
EVENTS_BUCKET = LOCAL.events_bucket(LOCAL.account_id)
MODELS_BUCKET = LOCAL.models_bucket(LOCAL.account_id)
MACHINE = f"arn:aws:states:us-east-1:{LOCAL.account_id}:stateMachine:{LOCAL.prefix}-pipeline"
NIGHT = MACHINE.removesuffix("pipeline") + "night"
# Settings with which training takes seconds. The model is worse than with the defaults.
QUICK = {"epochs": "3", "tune_cases": "0"}


@dataclass(frozen=True)
class Run:
    """A finished execution."""

    name: str
    run_id: str
    story: Execution
    notification: dict[str, str]

    def tries(self, state: str) -> list[str]:
        """Return the failures of a state, one per attempt."""
        return [failure for one in self.story.states if one.name == state for failure in one.failures]

    def reached(self, state: str) -> bool:
        """Return True if the execution entered the state."""
        return any(one.name == state for one in self.story.states)


def run_id_of(history: list[dict[str, Any]]) -> str:
    """Return the run_id that an execution passed to its steps, or an empty string before Lock."""
    for event in history:
        details = event.get("stateExitedEventDetails", {})
        if details.get("name") == "Lock":
            return str(json.loads(details["output"])["run_id"])
    return ""


_secret_keys: dict[tuple[str, str], str] = {}


def _secret_key(aws_url: str, shop: str) -> str:
    """Return the key that this process has issued. A local AWS that was restarted has forgotten it, and gets another."""
    secrets = aws_client("secretsmanager", aws_url)
    key = _secret_keys.get((aws_url, shop))
    known = {entry["sha256"] for entry in read(LOCAL, secrets).get(shop, [])}
    if key is None or digest(key) not in known:
        key = _secret_keys[aws_url, shop] = issue(LOCAL, shop, secrets)
    return key


@dataclass(frozen=True)
class Stage:
    """The stage `local`, deployed from a copy of the repository."""

    copy: Path
    stack: Stack
    environment: dict[str, str]

    def client(self, service: str) -> Any:
        """Return a boto3 client of the stage's AWS."""
        return aws_client(service, self.stack.aws_url)

    @property
    def api_url(self) -> str:
        """URL of the API."""
        return self.environment["TUGBOAT_API_URL"]

    def deploy(self) -> str:
        """Deploy the copy of the repository; return the output of the command."""
        return deployment.run("deploy", self.copy, self.environment)

    def secret_key(self, shop: str) -> str:
        """Return a secret key of a shop, the same one for all tests of a process."""
        return _secret_key(self.stack.aws_url, shop)

    def send(self, events: Iterable[dict[str, Any]]) -> Replayed:
        """Send events to the collector with the shop's secret key, and wait until all accepted events are in raw/."""
        watch = LandingWatch(self.client("s3"), EVENTS_BUCKET)
        sent = send(events, self.api_url, KEYS, secret_key_of=self.secret_key, connections=2, http=Http(2))
        sent.landed = watch.wait_for(sent.accepted, 60)
        return sent

    def start(self, **input_fields: Any) -> str:
        """Start an execution; return its ARN. A canary's waits would only take time: tests/integration runs it."""
        execution_input = {"shop_id": "demo", "hyperparameters": QUICK, "canary_seconds": 0, **input_fields}
        started = self.client("stepfunctions").start_execution(
            stateMachineArn=MACHINE, name=f"e2e-{time.time_ns()}", input=json.dumps(execution_input)
        )
        return str(started["executionArn"])

    def start_night(self, shops: list[str], **input_fields: Any) -> str:
        """Start a night for these shops; return its ARN."""
        execution_input = {"shops": shops, "hyperparameters": QUICK, "canary_seconds": 0, **input_fields}
        started = self.client("stepfunctions").start_execution(
            stateMachineArn=NIGHT, name=f"e2e-{time.time_ns()}", input=json.dumps(execution_input)
        )
        return str(started["executionArn"])

    def finish(self, arn: str, timeout_s: float = 240) -> Run:
        """Wait until an execution has ended; return it."""
        states = self.client("stepfunctions")
        wait_for(lambda: states.describe_execution(executionArn=arn)["status"] != "RUNNING", timeout_s, 0.25)
        status = states.describe_execution(executionArn=arn)
        history = read_history(states, arn)
        story = parse(history)
        story.status, story.error, story.cause = (
            status["status"],
            status.get("error", ""),
            status.get("cause", ""),
        )
        name, run_id = arn.rsplit(":", 1)[1], run_id_of(history)
        notification = next((one for one in self.notifications() if run_id and run_id in one["message"]), {})
        return Run(name, run_id, story, notification)

    def run(self, **input_fields: Any) -> Run:
        """Run one execution to its end."""
        return self.finish(self.start(**input_fields))

    def replay(self, archive: str) -> list[dict[str, Any]]:
        """Replay the last two hours of an archive; return the results of all calls that it needed."""
        now = datetime.now(UTC)
        event: Any = {
            "archive": archive,
            "from_hour": f"{now - timedelta(hours=1):%Y-%m-%dT%H}",
            "to_hour": f"{now:%Y-%m-%dT%H}",
        }
        results = []
        while event:
            response = self.client("lambda").invoke(
                FunctionName=f"{LOCAL.prefix}-replay", Payload=json.dumps(event).encode()
            )
            results.append(json.load(response["Payload"]))
            assert "FunctionError" not in response, results[-1]
            event = results[-1]["continue_with"]
        return results

    def notifications(self) -> list[dict[str, str]]:
        """Return the messages on the stage's topic."""
        path = self.stack.state / "logs" / "notifications.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query to the warehouse."""
        login = warehouse.read_credentials(self.client("secretsmanager"), LOCAL.secret_name)
        with warehouse.connect(login) as connection:
            return warehouse.rows(connection, sql)

    def recommend(self, *items: str, k: int = 10, **more: str) -> dict[str, Any]:
        """Return the response of /recommend; `more` are its other parameters, such as `exclude`."""
        query = urllib.parse.urlencode({"items": ",".join(items), "k": k, **more})
        with urllib.request.urlopen(f"{self.api_url}/recommend?{query}", timeout=30) as response:
            recommendation: dict[str, Any] = json.load(response)
        return recommendation

    def evaluation(self, run: Run) -> dict[str, Any]:
        """Return the evaluation report of a run."""
        body = self.client("s3").get_object(
            Bucket=MODELS_BUCKET, Key=f"{EVALUATIONS_PREFIX}{run.run_id}/evaluation.json"
        )
        report: dict[str, Any] = json.loads(body["Body"].read())
        return report
