"""Training jobs that follow the contract of SageMaker's script-mode containers.

The file `interrupt` in the job's folder takes its spot instance away: the program gets SIGTERM, then SIGKILL. The job starts
again on an empty disk with the checkpoints from S3. https://docs.aws.amazon.com/sagemaker/latest/dg/model-managed-spot-training.html

In moto 5.2.5 create_training_job completes at once and drops Environment, and stop_training_job is missing.
"""

from __future__ import annotations

import contextlib
import logging
import math
import re
import shutil
import threading
import time
from typing import Any

from moto.core.responses import EmptyResult
from moto.core.utils import utcnow
from moto.sagemaker import models
from moto.sagemaker.exceptions import AWSValidationException, ResourceInUseException
from moto.sagemaker.responses import SageMakerResponse

from local.aws.authorization import documented
from local.aws.authorization.operations import object_arn
from local.aws.authorization.policies import Call
from local.aws.authorization.sessions import AccessDenied
from local.aws.sagemaker import files, roles, script_mode
from local.aws.sagemaker.container import Container, Exit
from local.aws.sagemaker.requests import RequestFields
from local.aws.settings import Settings

log = logging.getLogger(__name__)

LOG_GROUP = "/aws/sagemaker/TrainingJobs"
_running: dict[str, Container] = {}
request_fields = RequestFields("Environment")
_ended = threading.Condition()


def install(settings: Settings) -> None:
    """Patch moto's training jobs."""
    create = models.SageMakerModelBackend.create_training_job

    def create_training_job(self: models.SageMakerModelBackend, **arguments: Any) -> models.FakeTrainingJob:
        name = arguments["training_job_name"]
        if name in self.training_jobs:
            raise ResourceInUseException(
                message="Training job names must be unique within an AWS account and region, and a training job "
                f"with this name already exists ({self.training_jobs[name].arn})"
            )
        session = roles.assume(arguments["role_arn"])
        metrics = list((arguments["algorithm_specification"] or {}).get("MetricDefinitions", []))
        job = create(self, **arguments)
        job.algorithm_specification["MetricDefinitions"] = metrics
        job.environment = request_fields.get("Environment") or {}
        job.training_job_status = "InProgress"
        job.training_start_time = job.training_end_time = None
        job.final_metric_data_list = []
        job.secondary_status_transitions = []  # moto's job has ended already
        # A describe call iterates over the attributes while the job runs, so none may be added later.
        job.failure_reason = job.training_time_in_seconds = job.billable_time_in_seconds = None
        _set_secondary_status(job, "Starting", "Preparing the instances for training")
        container = _running[name] = Container(settings, session, "training", name)
        threading.Thread(target=_run, args=(job, container), daemon=True, name=name).start()
        return job

    def stop_training_job(self: SageMakerResponse) -> EmptyResult:
        stop(self.sagemaker_backend, self._get_param("TrainingJobName"))
        return EmptyResult()

    models.SageMakerModelBackend.create_training_job = create_training_job
    SageMakerResponse.create_training_job = request_fields.around(SageMakerResponse.create_training_job)
    SageMakerResponse.stop_training_job = stop_training_job


def stop(backend: models.SageMakerModelBackend, name: str) -> None:
    """Stop a job as StopTrainingJob does.

    Raises:
        AWSValidationException: the job does not exist or has ended.
    """
    backend.describe_training_job(name)  # raises an error if it does not exist
    job, container = backend.training_jobs[name], _running.get(name)
    if container is None:
        raise AWSValidationException(
            f"The request was rejected because the training job is in status {job.training_job_status}."
        )
    job.training_job_status = "Stopping"
    _set_secondary_status(job, "Stopping", "Stopping the training job")
    container.stop()


def wait_for(job: models.FakeTrainingJob) -> None:
    """Wait until the job has ended."""
    with _ended:
        _ended.wait_for(lambda: job.training_job_name not in _running)


def _run(job: models.FakeTrainingJob, container: Container) -> None:
    try:
        _train(job, container)
    except files.MissingObject as error:
        _fail(job, f"ClientError: Data download failed: {error}")
    except AccessDenied as error:
        _fail(job, f"ClientError: {error}")
    except Exception as error:  # a defect here must fail the job, not leave it running for ever
        log.exception("training job %s", job.training_job_name)
        _fail(job, f"InternalServerError: {type(error).__name__}: {error}")
    finally:
        with _ended:
            _running.pop(job.training_job_name, None)
            _ended.notify_all()


def _train(job: models.FakeTrainingJob, container: Container) -> None:
    limits = job.stopping_condition or {}
    waits_until = time.monotonic() + float(limits.get("MaxWaitTimeInSeconds", math.inf))
    remaining_s = float(limits.get("MaxRuntimeInSeconds", 86_400))
    output = ""
    while True:
        shutil.rmtree(container.root, ignore_errors=True)
        _set_secondary_status(job, "Downloading", "Downloading input data")
        container.session.require(*documented.image_pull(job.algorithm_specification["TrainingImage"]))
        program = script_mode.prepare(job, container)
        checkpoints = _Checkpoints(job, container)
        checkpoints.download()
        _set_secondary_status(job, "Training", "Training image download completed. Training in progress.")
        job.training_start_time = job.training_start_time or utcnow()
        began = time.monotonic()
        exit_ = container.run(
            program.command,
            program.environment,
            program.cwd,
            log_group=LOG_GROUP,
            max_runtime_s=remaining_s,
            while_running=checkpoints.upload,
            is_spot=bool(job.enable_managed_spot_training),
        )
        checkpoints.upload()
        output += exit_.output
        remaining_s -= time.monotonic() - began
        if not exit_.interrupted or exit_.stopped:
            break
        _set_secondary_status(job, "Interrupted", "Training job interrupted: the spot instance was reclaimed")
        if time.monotonic() > waits_until:
            _end(job, "Stopped", "MaxWaitTimeExceeded", "Training job exceeded MaxWaitTimeInSeconds")
            return
        _set_secondary_status(job, "Starting", "Preparing the instances for training")
    job.final_metric_data_list = metrics(output, job.algorithm_specification["MetricDefinitions"])
    _finish(job, container, exit_)


def _finish(job: models.FakeTrainingJob, container: Container, exit_: Exit) -> None:
    output = f"{job.output_data_config['S3OutputPath'].rstrip('/')}/{job.training_job_name}/output"
    if any(container.path("/opt/ml/output/data").iterdir()):
        files.write(
            container.session, f"{output}/output.tar.gz", files.pack(container.path("/opt/ml/output/data"))
        )
    if exit_.status != 0 and not exit_.stopped and not exit_.timed_out:
        failure = container.path("/opt/ml/output/failure")
        reason = failure.read_text() if failure.is_file() else _failure_reason(exit_)
        _fail(job, f"AlgorithmError: {reason}"[:1024])
        return
    _set_secondary_status(job, "Uploading", "Uploading generated training model")
    model = files.pack(container.path("/opt/ml/model"))
    files.write(container.session, job.model_artifacts["S3ModelArtifacts"], model)
    if exit_.timed_out:
        message = "Training job runtime exceeded MaxRuntimeInSeconds provided"
        _end(job, "Stopped", "MaxRuntimeExceeded", message)
    elif exit_.stopped:
        _end(job, "Stopped", "Stopped", "Training job stopped")
    else:
        _end(job, "Completed", "Completed", "Training job completed")
    shutil.rmtree(container.root, ignore_errors=True)


def metrics(output: str, definitions: list[dict[str, str]]) -> list[dict[str, Any]]:
    """Return the last value of each metric in the output."""
    found = []
    for definition in definitions:
        values = re.findall(definition["Regex"], output)
        if values:
            last = values[-1] if isinstance(values[-1], str) else values[-1][0]
            found.append({"MetricName": definition["Name"], "Value": float(last), "Timestamp": utcnow()})
    return found


class _Checkpoints:
    """CheckpointConfig: a folder that is filled from S3 at the start and whose changes are uploaded."""

    def __init__(self, job: models.FakeTrainingJob, container: Container) -> None:
        config = job.checkpoint_config or {}
        self._session = container.session
        self._uri = config.get("S3Uri", "").rstrip("/")
        self.folder = container.path(config.get("LocalPath", "/opt/ml/checkpoints"))
        self._sent: dict[str, tuple[int, int]] = {}

    def download(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if self._uri:
            # A job that may not keep its checkpoints fails before it starts, not at the first upload.
            bucket, prefix = files.split(self._uri)
            self._session.require(Call("s3:PutObject", object_arn(bucket, f"{prefix}/")))
            files.download(self._session, self._uri + "/", self.folder)
            self._sent = self._listed()

    def upload(self) -> None:
        if not self._uri:
            return
        seen = self._listed()
        for name, state in seen.items():
            if self._sent.get(name) != state:
                # The job continues during the upload and may have renamed a file since it was listed.
                with contextlib.suppress(FileNotFoundError):
                    content = (self.folder / name).read_bytes()
                    files.write(self._session, f"{self._uri}/{name}", content)
        self._sent = seen

    def _listed(self) -> dict[str, tuple[int, int]]:
        found = {}
        for path in self.folder.rglob("*"):
            if not path.is_file():
                continue
            with contextlib.suppress(FileNotFoundError):
                stat = path.stat()
                found[path.relative_to(self.folder).as_posix()] = (stat.st_mtime_ns, stat.st_size)
        return found


def _failure_reason(exit_: Exit) -> str:
    lines = exit_.output.strip().splitlines()[-12:]
    return f'ExecuteUserScriptError:\nExitCode {exit_.status}\nErrorMessage "{chr(10).join(lines)[-800:]}"'


def _fail(job: models.FakeTrainingJob, reason: str) -> None:
    job.failure_reason = reason
    _end(job, "Failed", "Failed", "Training job failed")


def _end(job: models.FakeTrainingJob, status: str, secondary_status: str, message: str) -> None:
    """End the job. Set the status last, because readers of a final status read the times at once."""
    _set_secondary_status(job, secondary_status, message)
    job.training_end_time = utcnow()
    began = job.training_start_time or job.training_end_time
    job.training_time_in_seconds = job.billable_time_in_seconds = int(
        (job.training_end_time - began).total_seconds()
    )
    job.training_job_status = status


def _set_secondary_status(job: models.FakeTrainingJob, status: str, message: str) -> None:
    now = utcnow()
    transitions = [dict(transition) for transition in job.secondary_status_transitions]
    if transitions:
        transitions[-1]["EndTime"] = now
    transitions.append({"Status": status, "StartTime": now, "StatusMessage": message})
    job.secondary_status_transitions = transitions
    job.secondary_status = status
    job.last_modified_time = now
