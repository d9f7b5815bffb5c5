"""A deployed stage as the end-to-end tests use it: events in by HTTP, executions, tables, notifications, answers."""

import json
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3

from demo.history import Story, read_history, tell
from demo.http import Http
from demo.landed import LandingWatch
from demo.replay import Replayed, send
from functions.platform import warehouse
from local.environment import Stack
from statemachine.stages import read_stage
from tests import deployment

LOCAL = read_stage("local")
KEYS = LOCAL.sending_keys
EVENTS_BUCKET = LOCAL.events_bucket(LOCAL.account_id)
MODELS_BUCKET = LOCAL.models_bucket(LOCAL.account_id)
MACHINE = f"arn:aws:states:us-east-1:{LOCAL.account_id}:stateMachine:{LOCAL.prefix}-pipeline"
# A model of the tests' shop in seconds instead of the best one.
QUICK = {"epochs": "3", "tune_seconds": "0"}


@dataclass(frozen=True)
class Run:
    """An execution that is over."""

    name: str
    story: Story
    notification: dict[str, str]

    def tries(self, state: str) -> list[str]:
        """Why tries of a state failed."""
        return [failure for one in self.story.states if one.name == state for failure in one.failures]

    def reached(self, state: str) -> bool:
        """Whether the execution entered the state."""
        return any(one.name == state for one in self.story.states)


@dataclass(frozen=True)
class Stage:
    """The stage `local`, deployed from a copy of the repository."""

    copy: Path
    stack: Stack
    environment: dict[str, str]

    def client(self, service: str) -> Any:
        """A boto3 client."""
        return boto3.client(
            service,
            endpoint_url=self.stack.aws_url,
            region_name="us-east-1",
            aws_access_key_id="local",
            aws_secret_access_key="local",
        )

    @property
    def api_url(self) -> str:
        """The API's address."""
        return self.environment["TUGBOAT_API_URL"]

    def deploy(self) -> str:
        """Brings the stage to what the copy says."""
        return deployment.run("deploy", self.copy, self.environment)

    def send(self, events: Iterable[dict[str, Any]]) -> Replayed:
        """Sends events to the collector and waits until those accepted lie under raw/."""
        watch = LandingWatch(self.client("s3"), EVENTS_BUCKET)
        sent = send(events, self.api_url, KEYS, connections=2, http=Http(2))
        sent.landed = watch.wait_for(sent.accepted, 60)
        return sent

    def start(self, **wanted: Any) -> str:
        """Starts an execution; its ARN."""
        wanted = {"shop_id": "demo", "hyperparameters": QUICK, **wanted}
        started = self.client("stepfunctions").start_execution(
            stateMachineArn=MACHINE, name=f"e2e-{time.time_ns()}", input=json.dumps(wanted)
        )
        return str(started["executionArn"])

    def finish(self, arn: str) -> Run:
        """Waits for an execution's end."""
        states = self.client("stepfunctions")
        wait_for(lambda: states.describe_execution(executionArn=arn)["status"] != "RUNNING", 240)
        status = states.describe_execution(executionArn=arn)
        story = tell(read_history(states, arn))
        story.status, story.error, story.cause = (
            status["status"],
            status.get("error", ""),
            status.get("cause", ""),
        )
        name = arn.rsplit(":", 1)[1]
        return Run(name, story, next((one for one in self.notifications() if name in one["message"]), {}))

    def run(self, **wanted: Any) -> Run:
        """One execution from start to end."""
        return self.finish(self.start(**wanted))

    def replay(self, archive: str) -> list[dict[str, Any]]:
        """Replays what an archive holds of the last two hours, in as many calls as it takes; their answers."""
        now = datetime.now(UTC)
        event: Any = {
            "archive": archive,
            "from_hour": f"{now - timedelta(hours=1):%Y-%m-%dT%H}",
            "to_hour": f"{now:%Y-%m-%dT%H}",
        }
        answers = []
        while event:
            answer = self.client("lambda").invoke(
                FunctionName=f"{LOCAL.prefix}-replay", Payload=json.dumps(event).encode()
            )
            answers.append(json.load(answer["Payload"]))
            assert "FunctionError" not in answer, answers[-1]
            event = answers[-1]["continue_with"]
        return answers

    def notifications(self) -> list[dict[str, str]]:
        """What was published on the stage's topic."""
        path = self.stack.state / "logs" / "notifications.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """What the warehouse answers."""
        login = warehouse.read_credentials(self.client("secretsmanager"), LOCAL.secret_name)
        with warehouse.connect(login) as connection:
            return warehouse.rows(connection, sql)

    def recommend(self, *items: str, k: int = 10, **more: str) -> dict[str, Any]:
        """What /recommend answers; `more` are its other parameters, such as `exclude`."""
        query = urllib.parse.urlencode({"items": ",".join(items), "k": k, **more})
        with urllib.request.urlopen(f"{self.api_url}/recommend?{query}", timeout=30) as answer:
            found: dict[str, Any] = json.load(answer)
        return found

    def evaluation(self, run: Run) -> dict[str, Any]:
        """The report that a run's evaluation wrote."""
        body = self.client("s3").get_object(
            Bucket=MODELS_BUCKET, Key=f"evaluation/{run.name}/evaluation.json"
        )
        found: dict[str, Any] = json.loads(body["Body"].read())
        return found


def wait_for(holds: Callable[[], Any], timeout_s: float, pause_s: float = 0.25) -> Any:
    """What `holds` gives once it gives something.

    Raises:
        AssertionError: it did not in time.
    """
    deadline = time.monotonic() + timeout_s
    while not (found := holds()):
        assert time.monotonic() < deadline, f"still not so after {timeout_s} s"
        time.sleep(pause_s)
    return found
