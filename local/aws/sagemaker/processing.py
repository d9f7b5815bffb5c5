"""Processing jobs: any command with inputs from S3 and outputs to S3.

In moto 5.2.5 create_processing_job completes at once and drops Environment and ProcessingResources.
"""

from __future__ import annotations

import json
import logging
import shutil
import threading
from typing import Any

from moto.core.responses import EmptyResult
from moto.core.utils import utcnow
from moto.sagemaker import models
from moto.sagemaker.exceptions import AWSValidationException, ResourceInUseException
from moto.sagemaker.responses import SageMakerResponse

from local.aws.authorization import documented
from local.aws.authorization.sessions import AccessDenied
from local.aws.ecr import Registry
from local.aws.sagemaker import files, roles
from local.aws.sagemaker.container import Container
from local.aws.sagemaker.requests import RequestFields
from local.aws.settings import Settings

log = logging.getLogger(__name__)

LOG_GROUP = "/aws/sagemaker/ProcessingJobs"
_running: dict[str, Container] = {}
_request_fields = RequestFields("Environment", "ProcessingResources")


def install(settings: Settings, registry: Registry) -> None:
    """Patch moto's processing jobs."""
    create = models.SageMakerModelBackend.create_processing_job

    def create_processing_job(
        self: models.SageMakerModelBackend, **arguments: Any
    ) -> models.FakeProcessingJob:
        name = arguments["processing_job_name"]
        if name in self.processing_jobs:
            raise ResourceInUseException(
                message="Processing job names must be unique within an AWS account and region, and a processing "
                f"job with this name already exists ({self.processing_jobs[name].arn})"
            )
        session = roles.assume(arguments["role_arn"])
        job = create(self, **arguments)
        job.environment = _request_fields.get("Environment") or {}
        job.processing_resources = _request_fields.get("ProcessingResources")
        job.processing_job_status = "InProgress"
        job.processing_end_time = None
        container = _running[name] = Container(settings, session, "processing", name)
        threading.Thread(target=_run, args=(job, container, registry), daemon=True, name=name).start()
        return job

    def stop_processing_job(self: SageMakerResponse) -> EmptyResult:
        name = self._get_param("ProcessingJobName")
        self.sagemaker_backend.describe_processing_job(name)  # raises an error if it does not exist
        job, container = self.sagemaker_backend.processing_jobs[name], _running.get(name)
        if container is None:
            raise AWSValidationException(
                f"The request was rejected because the processing job is in status {job.processing_job_status}."
            )
        job.processing_job_status = "Stopping"
        container.stop()
        return EmptyResult()

    models.SageMakerModelBackend.create_processing_job = create_processing_job
    SageMakerResponse.create_processing_job = _request_fields.around(SageMakerResponse.create_processing_job)
    SageMakerResponse.stop_processing_job = stop_processing_job


def _run(job: models.FakeProcessingJob, container: Container, registry: Registry) -> None:
    try:
        _process(job, container, registry)
    except files.MissingObject as error:
        _fail(job, f"ClientError: Data download failed: {error}")
    except AccessDenied as error:
        _fail(job, f"ClientError: {error}")
    except Exception as error:  # a defect here must fail the job, not leave it running for ever
        log.exception("processing job %s", job.processing_job_name)
        _fail(job, f"InternalServerError: {type(error).__name__}: {error}")
    finally:
        job.last_modified_time = job.processing_end_time = utcnow()
        _running.pop(job.processing_job_name, None)


def _process(job: models.FakeProcessingJob, container: Container, registry: Registry) -> None:
    shutil.rmtree(container.root, ignore_errors=True)
    container.session.require(*documented.image_pull(job.app_specification["ImageUri"]))
    _prepare(job, container)
    outputs = (job.processing_output_config or {}).get("Outputs") or []
    for output in outputs:
        container.path(output["S3Output"]["LocalPath"]).mkdir(parents=True, exist_ok=True)
    application = job.app_specification
    command = [
        *(application.get("ContainerEntrypoint") or []),
        *(application.get("ContainerArguments") or []),
    ]
    if not command:
        _fail(
            job,
            "ClientError: the entry point of an image cannot run on this machine. Set ContainerEntrypoint.",
        )
        return
    job.processing_start_time = utcnow()
    # AWS's own images are not in the registry: their jobs run with the Python of this machine.
    image = registry.find(job.app_specification["ImageUri"])
    exit_ = container.run(
        _with_local_python(command, container),
        container.environment(
            {
                **(image.environment if image else {}),
                "PROCESSING_JOB_NAME": job.processing_job_name,
                "PROCESSING_JOB_ARN": job.arn,
                **job.environment,
            },
            image.programs if image else None,
        ),
        container.root,
        log_group=LOG_GROUP,
        max_runtime_s=float((job.stopping_condition or {}).get("MaxRuntimeInSeconds", 86_400)),
    )
    message = container.path("/opt/ml/output/message")
    if message.is_file():
        job.exit_message = message.read_text()[:1024]
    if exit_.status != 0 and not exit_.stopped and not exit_.timed_out:
        last_lines = "\n".join(exit_.output.strip().splitlines()[-8:])
        _fail(job, f"AlgorithmError: {last_lines}, exit code: {exit_.status}"[-1024:])
        return
    for output in outputs:
        target = output["S3Output"]
        files.upload(container.session, container.path(target["LocalPath"]), target["S3Uri"])
    job.processing_job_status = "Stopped" if exit_.stopped or exit_.timed_out else "Completed"
    shutil.rmtree(container.root, ignore_errors=True)


def _prepare(job: models.FakeProcessingJob, container: Container) -> None:
    for folder in ("processing/input", "processing/output", "config", "output"):
        container.path(f"/opt/ml/{folder}").mkdir(parents=True, exist_ok=True)
    for item in job.processing_inputs or []:
        source = item["S3Input"]
        target = container.path(source["LocalPath"])
        if not files.download(container.session, source["S3Uri"], target):
            raise files.MissingObject(
                f"No S3 objects found under S3 URL {source['S3Uri']} given in input data source of {item['InputName']}"
            )
    config = {"ProcessingJobName": job.processing_job_name, "AppSpecification": job.app_specification}
    container.path("/opt/ml/config/processingjobconfig.json").write_text(json.dumps(config))
    resources = {"current_host": "algo-1", "hosts": ["algo-1"]}
    container.path("/opt/ml/config/resourceconfig.json").write_text(json.dumps(resources))


def _with_local_python(command: list[str], container: Container) -> list[str]:
    first, *rest = [container.inside(part) for part in command]
    if first in ("python", "python3", "python3.11", "/usr/bin/python3", "/opt/conda/bin/python"):
        first = container.settings.container_python
    return [first, *rest]


def _fail(job: models.FakeProcessingJob, reason: str) -> None:
    job.failure_reason = reason
    job.processing_job_status = "Failed"
