"""A step as a job: the function of the Lambda, its event from the environment, its outcome in S3."""

import json
from typing import Any

import pytest

from deploy.step_jobs import STEPS as MOVABLE
from functions import job
from testing.fakes import FakeS3

ENVIRONMENT = {
    "TUGBOAT_EVENT": '{"run_id": "r1", "full_refresh": true}',
    "TUGBOAT_OUTCOME": "s3://models/jobs/r1/transform/0-0.json",
}


def outcome(s3: FakeS3) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(
        s3.get_object(Bucket="models", Key="jobs/r1/transform/0-0.json")["Body"].read()
    )
    return read


def test_a_job_hands_over_what_the_step_returns() -> None:
    given = []

    def step(event: Any, _: Any) -> Any:
        given.append(event)
        return {"run_id": event["run_id"], "models": []}

    s3 = FakeS3()
    assert job.run(step, ENVIRONMENT, s3) == 0
    assert given == [{"run_id": "r1", "full_refresh": True}]
    assert outcome(s3) == {"run_id": "r1", "models": []}


def test_a_job_that_fails_hands_over_the_error_in_the_form_of_lambda(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def step(*_: Any) -> Any:
        raise ValueError("model stg_events failed")

    s3 = FakeS3()
    assert job.run(step, ENVIRONMENT, s3) == 1
    failed = outcome(s3)
    assert (failed["errorType"], failed["errorMessage"]) == ("ValueError", "model stg_events failed")
    assert "in step" in failed["stackTrace"][-1]
    assert [(one.name, one.message) for one in caplog.records] == [("functions.job", "step failed")]


def test_the_command_line_knows_every_step_that_can_run_as_a_job() -> None:
    assert job.STEPS.keys() == {one.name for one in MOVABLE}
