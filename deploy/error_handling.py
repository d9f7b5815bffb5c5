"""Write the Retry and Catch of every task, and the time limit of every Lambda's state, into statemachine/*.asl.json.

ASL has no way to share them between states, and JSON has no comments. They are defined here once, with their reasons, and
the files stay the plain ASL that is deployed. Which state a failure leads to is read from the state itself.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deploy import lambdas
from deploy.command import DeployError, command_parser
from functions.platform import errors

FOLDER = Path(__file__).resolve().parent.parent / "statemachine"
# The definition of each state machine of statemachine/resources.yaml.
DEFINITIONS = {
    "Pipeline": FOLDER / "pipeline.asl.json",
    "Night": FOLDER / "night.asl.json",
    "BatchMachine": FOLDER / "batch.asl.json",
}
PIPELINE_FILE, NIGHT_FILE, BATCH_FILE = DEFINITIONS.values()

Json = dict[str, Any]


def _retry(error_names: list[str], interval_s: int, max_attempts: int, max_delay_s: int) -> Json:
    return {
        "ErrorEquals": error_names,
        "IntervalSeconds": interval_s,
        "MaxAttempts": max_attempts,
        "BackoffRate": 2,
        "MaxDelaySeconds": max_delay_s,
        "JitterStrategy": "FULL",
    }


# A Lambda is retried when its code reports a failure that may pass, or when the service failed to run it.
# https://docs.aws.amazon.com/step-functions/latest/dg/sfn-best-practices.html#bp-lambda-serviceexception
TRANSIENT_ERRORS = [
    name
    for name, value in vars(errors).items()
    if isinstance(value, type)
    and issubclass(value, errors.TransientError)
    and value not in (errors.TransientError, errors.EndpointBusy)
]
SERVICE_ERRORS = [
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.TooManyRequestsException",
]
RETRY_LAMBDA = _retry([*TRANSIENT_ERRORS, *SERVICE_ERRORS], interval_s=2, max_attempts=4, max_delay_s=60)
# Failed raises the failure of the run, which may be one of the transient errors. Only its own call is retried.
RETRY_SERVICE = _retry(SERVICE_ERRORS, interval_s=2, max_attempts=4, max_delay_s=60)
# SageMaker changes or deletes an endpoint for minutes, and refuses other changes of it meanwhile.
RETRY_BUSY = _retry([errors.EndpointBusy.__name__], interval_s=5, max_attempts=20, max_delay_s=60)
MOVE_THE_ENDPOINT = ("Publish", "Promote", "Rollback")
# Only the call that starts a job is retried: throttled, over a quota, or failed in the service. SageMaker's model has no error
# for throttling, so it arrives as AmazonSageMakerException. A job that failed is States.TaskFailed, which is not here: a job
# that failed for its data would fail again at the same price. The state ServiceFault? restarts one that SageMaker lost.
# https://docs.aws.amazon.com/step-functions/latest/dg/connect-sagemaker.html
RETRY_JOB = _retry(
    [
        "SageMaker.ThrottlingException",
        "SageMaker.ResourceLimitExceededException",
        "SageMaker.AmazonSageMakerException",
    ],
    interval_s=10,
    max_attempts=4,
    max_delay_s=120,
)
# The same of a step that runs as a job. The job itself is retried by the state TransientFailure? (deploy/step_jobs.py).
# https://docs.aws.amazon.com/codebuild/latest/APIReference/API_StartBuild.html
RETRY_BUILD = _retry(
    ["CodeBuild.AccountLimitExceededException", "CodeBuild.AWSCodeBuildException"],
    interval_s=10,
    max_attempts=4,
    max_delay_s=120,
)
# Only the start of an execution is retried, while the account runs too many. Its name makes a second one impossible.
# https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html
RETRY_EXECUTION = _retry(
    ["StepFunctions.ExecutionLimitExceededException", "StepFunctions.AWSStepFunctionsException"],
    interval_s=10,
    max_attempts=4,
    max_delay_s=120,
)
# A call of an AWS API is cheap and can be repeated after any failure.
RETRY_CALL = _retry(["States.TaskFailed"], interval_s=2, max_attempts=4, max_delay_s=30)

# The state's clock starts before the Lambda's. With this margin the Lambda ends first, and its log says why.
STATE_MARGIN_S = 60

# NotifySuccess has no Catch: the run has succeeded, so a failed message must not report a failure.
# Unlock has its own: a lock that is not released must not report a failure either.
# StartLists has its own: a batch that cannot be started must not fail the run. The message of the run contains the reason.
# Failed has no Catch: its failure is the end of the execution.
# The others have their own: they run after a failure, which they must not overwrite.
OF_PIPELINE = (
    "Unlock",
    "StartLists",
    "NotifySuccess",
    "Rollback",
    "UnlockAfterFailure",
    "StartListsAfterFailure",
    "NotifyFailure",
    "Failed",
)
OF_NIGHT = ("LockTables", "UnlockTables", "Notify")
OWN_CATCH = (*OF_PIPELINE, *OF_NIGHT)

START_EXECUTION = "arn:aws:states:::states:startExecution.sync:2"
START_BATCH = "arn:aws:states:::states:startExecution"

# Where a redriven run continues: at the step that failed. After Rollback the endpoint serves the release on record again, so
# a model that was published and is not on record is published again.
RESUME = dict.fromkeys(("DescribeEndpoint", "Prove", "Canary", "Promote", "Record"), "Publish")
# The number of redrives. Without one, the context object may lack it.
REDRIVES = "($states.context.Execution.RedriveCount ? $states.context.Execution.RedriveCount : 0)"


def with_error_handling(definition: Json) -> Json:
    """Return the definition with Retry and Catch in every task, and TimeoutSeconds in every state of a Lambda.

    Raises:
        DeployError: a state invokes a Lambda that deploy/lambdas.py does not declare.
    """
    # A run of the pipeline can be redriven. A batch is made anew.
    can_resume = "Lock" not in definition["States"] or "WhichStep?" in definition["States"]
    states = {name: _handled(name, state, can_resume) for name, state in definition["States"].items()}
    return definition | {"States": states}


def _handled(name: str, state: Json, can_resume: bool) -> Json:
    if state["Type"] == "Map":
        inner = with_error_handling(state["ItemProcessor"])
        return state | {"ItemProcessor": inner, "Catch": [_night_catch(name, state["Catch"][-1]["Next"])]}
    if state["Type"] != "Task":
        return state
    handling: Json = {
        "Retry": [*([RETRY_BUSY] if name in MOVE_THE_ENDPOINT else []), _retry_of(name, state["Resource"])]
    }
    if state["Resource"].endswith(":lambda:invoke"):
        handling = {"TimeoutSeconds": _lambda_timeout_s(name, state) + STATE_MARGIN_S} | handling
    if state["Resource"] == START_EXECUTION:
        handling["Catch"] = [_night_catch(name, state["Catch"][-1]["Next"])]
    elif name in OWN_CATCH:
        handling |= {key: state[key] for key in ("Catch",) if key in state}
    else:
        caught = state.get("Catch", [{"Next": "LockHeld?"}])
        rule = _catch(name, state["Resource"], caught[-1]["Next"])
        if not can_resume:
            rule["Assign"] = {"failure": rule["Assign"]["failure"]}
        handling["Catch"] = [rule]
    last = ("Retry", "Catch", "Next", "End")
    rest = {key: value for key, value in state.items() if key not in {*handling, *last}}
    return rest | handling | {key: state[key] for key in ("Next", "End") if key in state}


def _lambda_timeout_s(name: str, state: Json) -> int:
    """Return the time limit of the Lambda that the state invokes."""
    placeholder = state["Arguments"]["FunctionName"]
    for one in lambdas.LAMBDAS:
        if placeholder == f"${{{one.title}Function}}":
            return one.timeout_s
    raise DeployError(
        f"state {name} invokes {placeholder}, which no Lambda of deploy/lambdas.py is called: declare it there"
    )


def _retry_of(name: str, resource: str) -> Json:
    if name == "Failed":
        return RETRY_SERVICE
    if resource.endswith(":lambda:invoke"):
        return RETRY_LAMBDA
    if resource in (START_EXECUTION, START_BATCH):
        return RETRY_EXECUTION
    return RETRY_JOB if resource.endswith(".sync") else RETRY_CALL


def _catch(name: str, resource: str, next_state: str) -> Json:
    rule = catch(name, next_state, RESUME.get(name, name))
    if name == "Lock":
        # No step has failed: the run continues where it would have. LockHeld? must not ask for the lock again.
        del rule["Assign"]["resume"]
        rule["Assign"]["redrives"] = f"{{% {REDRIVES} %}}"
    if resource.endswith(".sync"):
        rule["Assign"]["job_failures"] = "{% $job_failures + 1 %}"
    return rule


def catch(name: str, next_state: str, resume: str) -> Json:
    """Return the rule that records which state failed, why, and where a redrive continues, then goes on to the next state.

    A timeout has no Cause, and in JSONata an expression without a value fails the execution before anybody is notified.
    """
    failure = {
        "state": name,
        "error": "{% $states.errorOutput.Error %}",
        "cause": "{% $exists($states.errorOutput.Cause) ? $string($states.errorOutput.Cause) : 'no cause was given' %}",
    }
    return {
        "ErrorEquals": ["States.ALL"],
        "Assign": {"failure": failure, "resume": resume},
        "Next": next_state,
    }


def _night_catch(name: str, next_state: str) -> Json:
    """Return the rule of a state of the night: Shop hands its failure to the result of the Map, any other one ends the night.

    The cause of an execution that failed is its description, as JSON. The cause in it is JSON too if a Lambda reported it.
    """
    described = (
        "$described := $states.errorOutput.Error = 'States.TaskFailed' ? $parse($states.errorOutput.Cause) : "
        "{'Error': $states.errorOutput.Error, 'Cause': $states.errorOutput.Cause}; "
    )
    error = f"({described}$exists($described.Error) ? $described.Error : $string($described.Status))"
    cause = (
        f"({described}$exists($described.Cause) ? ($contains($described.Cause, 'errorMessage') ? "
        "$parse($described.Cause).errorMessage : $described.Cause) : 'no cause was given')"
    )
    rule: Json = {"ErrorEquals": ["States.ALL"]}
    if name == "Shop":
        outcome = f"{{% 'failed with ' & {error} & ': ' & $substring({cause}, 0, 300) %}}"
        rule["Output"] = {"shop_id": "{% $states.input.shop_id %}", "outcome": outcome}
    else:
        failure = {"state": name, "error": f"{{% {error} %}}", "cause": f"{{% {cause} %}}"}
        rule["Assign"] = {"failure": failure}
    return rule | {"Next": next_state}


def render(definition: Json) -> str:
    """Return the text of the definition as it is committed."""
    return json.dumps(with_error_handling(definition), indent=2, ensure_ascii=False) + "\n"


def main(arguments: list[str] | None = None, paths: Sequence[Path] = tuple(DEFINITIONS.values())) -> int:
    """Run the command line."""
    parser = command_parser("deploy.error_handling", __doc__, "--check")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a file is outdated")
    args = parser.parse_args(arguments)
    return max(_update(path, args.check) for path in paths)


def _update(path: Path, check: bool) -> int:
    """Write a definition, or with `check` only compare it. Return 1 if it is outdated and not written."""
    before = path.read_text()
    definition = json.loads(before)
    after = render(definition)
    if check and after != before:
        handled = with_error_handling(definition)["States"]
        differing = [name for name, state in definition["States"].items() if handled[name] != state]
        print(
            f"{path.name}: Retry, Catch or time limit of {', '.join(differing) or 'no state'} differs from "
            "deploy/error_handling.py, or the file is formatted otherwise. Write it: python -m deploy.error_handling",
            file=sys.stderr,
        )
        return 1
    if not check and after != before:
        path.write_text(after)
        print(f"wrote {path.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
