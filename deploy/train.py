"""Submit a training job from this machine on the snapshot of an earlier run, and follow it to its model.

The job has the code, image, role, instances, spot and limits of the stage's nightly training. It publishes nothing.
Runs with the SageMaker SDK, in its own environment: make train STAGE=dev RUN=<run id> ARGS="--hyperparameter epochs=3".
"""

import argparse
import json
import logging
import os
import re
import sys
from datetime import UTC, datetime
from typing import Any

import boto3

from deploy.command import DeployError, exit_status, stage_parser
from deploy.stages import account_of, read_stage
from deploy.training_request import Json, TrainError, latest_snapshots, read_manifest, training_request

# The SDK would demand rights on every bucket, and refuse the stack's role, which has rights on the stage's own bucket.
VALIDATE_ROLE = ("SAGEMAKER_VALIDATE_ROLE", "false")
# The SDK reports each call to AWS's product team unless its configuration opts out.
SDK_CONFIG = {
    "SchemaVersion": "1.0",
    "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}},
}


def _snake(name: str) -> str:
    """Return the SDK's name of a field of the API: VolumeSizeInGB is volume_size_in_gb."""
    partly = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z0-9])([A-Z])", r"\1_\2", partly).lower()


def _shape(value: Any) -> Any:
    """Return a part of the request with the SDK's names of fields."""
    if isinstance(value, dict):
        return {_snake(key): _shape(inner) for key, inner in value.items()}
    return [_shape(inner) for inner in value] if isinstance(value, list) else value


def trainer(request: Json, prefix: str, session: Any) -> Any:
    """Return the ModelTrainer that submits this request.

    Raises:
        TrainError: the state Train sets a field that this function does not pass on.
    """
    from sagemaker.core import shapes
    from sagemaker.train import ModelTrainer
    from sagemaker.train.configs import Channel, Compute, MetricDefinition, StoppingCondition

    left = dict(request)
    left.pop("TrainingJobName")  # ModelTrainer appends the time to its base name
    algorithm = dict(left.pop("AlgorithmSpecification"))
    compute = _shape(left.pop("ResourceConfig"))
    model_trainer = ModelTrainer(
        sagemaker_session=session,
        base_job_name=f"{prefix}-adhoc",
        role=left.pop("RoleArn"),
        training_image=algorithm.pop("TrainingImage"),
        training_input_mode=algorithm.pop("TrainingInputMode"),
        compute=Compute(**compute, enable_managed_spot_training=left.pop("EnableManagedSpotTraining", None)),
        stopping_condition=StoppingCondition(**_shape(left.pop("StoppingCondition"))),
        output_data_config=shapes.OutputDataConfig(**_shape(left.pop("OutputDataConfig"))),
        checkpoint_config=shapes.CheckpointConfig(**_shape(left.pop("CheckpointConfig"))),
        input_data_config=[Channel(**_shape(channel)) for channel in left.pop("InputDataConfig")],
        # The code is an archive in S3 already. As hyperparameters, it reaches the container as in the state machine.
        hyperparameters=left.pop("HyperParameters"),
    ).with_metric_definitions([MetricDefinition(**_shape(one)) for one in algorithm.pop("MetricDefinitions")])
    if unknown := sorted([*left, *algorithm]):
        raise TrainError(
            f"the state Train sets {', '.join(unknown)}, which deploy/train.py does not pass on: add it there"
        )
    return model_trainer


def follow(model_trainer: Any) -> Any:
    """Submit the job, print its log until it ends, and return it.

    Raises:
        TrainError: the job failed or was stopped.
    """
    from rich.logging import RichHandler
    from sagemaker.core.utils.exceptions import FailedStatusError

    # The SDK logs the lines of the job, some with markup for a terminal.
    handler = RichHandler(markup=True, show_time=False, show_level=False, show_path=False)
    logging.basicConfig(handlers=[handler], format="%(message)s")
    logging.getLogger("sagemaker.core.resources").setLevel(logging.INFO)
    try:
        model_trainer.train(wait=True, logs=True)
    except FailedStatusError:
        pass  # the reason is on the job
    except KeyboardInterrupt:
        job = model_trainer._latest_training_job
        raise TrainError(
            "stopped following"
            + (
                f"; the job {job.training_job_name} goes on. Stop it with aws sagemaker stop-training-job "
                f"--training-job-name {job.training_job_name}"
                if job
                else " before the job was submitted"
            )
        ) from None
    job = model_trainer._latest_training_job
    if job.training_job_status != "Completed":
        raise TrainError(
            f"the job {job.training_job_name} ended as {job.training_job_status}: {job.failure_reason}. Its log is "
            f"/aws/sagemaker/TrainingJobs, streams {job.training_job_name}/. Correct the cause, then run the same "
            "command again"
        )
    return job


def report(job: Any) -> str:
    """Return the job's metrics and the address of its model as text."""
    metrics = job.final_metric_data_list or []
    return "\n".join(
        [
            f"job      {job.training_job_name}, {job.training_time_in_seconds} s",
            *(f"metric   {one.metric_name:<20} {one.value:.6g}" for one in metrics),
            f"model    {job.model_artifacts.s3_model_artifacts}",
        ]
    )


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE, such as epochs=3")
    return name, value


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = stage_parser(
        __spec__.name,
        __doc__,
        "--stage dev --run 20261129-0a1b2c3d4e5f --hyperparameter epochs=3",
    )
    parser.add_argument(
        "--run", metavar="ID", help="the run whose snapshot is trained on; default: list them"
    )
    parser.add_argument(
        "--hyperparameter",
        action="append",
        type=_pair,
        default=[],
        metavar="NAME=VALUE",
        help="a setting of training_jobs/train.py; repeat the flag for several",
    )
    args = parser.parse_args(arguments)

    def run() -> int:
        stage = read_stage(args.stage)
        os.environ.update(stage.region_variables | dict([VALIDATE_ROLE]))
        session = boto3.Session(region_name=stage.region)
        account_id = account_of(stage, session.client("sts"))
        bucket, s3 = stage.models_bucket(account_id), session.client("s3")
        if not args.run:
            print(*latest_snapshots(s3, bucket), sep="\n")
            raise TrainError(f"name a run: make train STAGE={stage.name} RUN=<run id>")
        manifest = read_manifest(s3, bucket, args.run)
        machine = f"arn:aws:states:{stage.region}:{account_id}:stateMachine:{stage.prefix}-pipeline"
        deployed = session.client("stepfunctions").describe_state_machine(stateMachineArn=machine)
        job_id = f"adhoc-{datetime.now(UTC):%Y%m%d-%H%M%S}"
        request = training_request(
            json.loads(deployed["definition"]), job_id, manifest, dict(args.hyperparameter)
        )
        try:
            from sagemaker.core.helper.session_helper import Session
        except ModuleNotFoundError as error:
            raise DeployError(
                f"{error}: this Python has no SageMaker SDK. Run it with make train STAGE={stage.name} RUN={args.run}"
            ) from None
        sdk = Session(boto_session=session, default_bucket=bucket, sagemaker_config=SDK_CONFIG)
        print(report(follow(trainer(request, stage.prefix, sdk))))
        return 0

    return exit_status(run)


if __name__ == "__main__":
    sys.exit(main())
