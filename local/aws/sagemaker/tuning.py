"""Hyperparameter tuning: sequential training jobs with values that are drawn at random from a seed.

Bayesian, Random and Hyperband all draw at random here; Grid takes all combinations of categories. In moto 5.2.5
create_hyper_parameter_tuning_job completes at once with an invented best job.
"""

from __future__ import annotations

import itertools
import logging
import math
import random
import threading
import uuid
from collections.abc import Iterator
from typing import Any

from moto.core.responses import ActionResult, EmptyResult
from moto.core.utils import utcnow
from moto.sagemaker import models
from moto.sagemaker.exceptions import AWSValidationException
from moto.sagemaker.responses import SageMakerResponse

from local.aws.sagemaker import training

log = logging.getLogger(__name__)

_DROPPED = (
    "best_training_job",
    "OverallBestTrainingJob",
    "tuning_job_completion_details",
    "consumed_resources",
)


def install() -> None:
    """Patch moto's tuning jobs."""
    create = models.SageMakerModelBackend.create_hyper_parameter_tuning_job
    describe = models.HyperParameterTuningJob.describe

    def create_tuning_job(self: models.SageMakerModelBackend, **arguments: Any) -> str:
        name = arguments["hyper_parameter_tuning_job_name"]
        if not arguments["training_job_definition"]:
            raise AWSValidationException(
                "The local SageMaker supports one TrainingJobDefinition, not several. Set TrainingJobDefinition."
            )
        arn: str = create(self, **arguments)
        job = self.hyper_parameter_tuning_jobs[name]
        job.hyper_parameter_tuning_job_status = "InProgress"
        job.training_job_status_counters = dict.fromkeys(job.training_job_status_counters, 0)
        job.objective_status_counters = dict.fromkeys(job.objective_status_counters, 0)
        job.hyper_parameter_tuning_end_time = None
        job.failure_reason = None
        for attribute in _DROPPED:
            setattr(job, attribute, None)
        job.summaries = []
        job.stop_requested = threading.Event()
        threading.Thread(target=_run, args=(self, job), daemon=True, name=name).start()
        return arn

    def describe_job(self: models.HyperParameterTuningJob) -> dict[str, Any]:
        return {name: value for name, value in describe(self).items() if value is not None}

    def stop_hyper_parameter_tuning_job(self: SageMakerResponse) -> EmptyResult:
        name = self._get_param("HyperParameterTuningJobName")
        self.sagemaker_backend.describe_hyper_parameter_tuning_job(
            name
        )  # raises an error if it does not exist
        job = self.sagemaker_backend.hyper_parameter_tuning_jobs[name]
        job.hyper_parameter_tuning_job_status = "Stopping"
        job.stop_requested.set()
        for summary in job.summaries:
            if summary["TrainingJobStatus"] == "InProgress":
                training.stop(self.sagemaker_backend, summary["TrainingJobName"])
        return EmptyResult()

    def list_training_jobs(self: SageMakerResponse) -> ActionResult:
        name = self._get_param("HyperParameterTuningJobName")
        self.sagemaker_backend.describe_hyper_parameter_tuning_job(name)
        job = self.sagemaker_backend.hyper_parameter_tuning_jobs[name]
        return ActionResult({"TrainingJobSummaries": job.summaries})

    models.SageMakerModelBackend.create_hyper_parameter_tuning_job = create_tuning_job
    models.HyperParameterTuningJob.describe = describe_job
    SageMakerResponse.stop_hyper_parameter_tuning_job = stop_hyper_parameter_tuning_job
    SageMakerResponse.list_training_jobs_for_hyper_parameter_tuning_job = list_training_jobs


def draws(config: dict[str, Any]) -> Iterator[dict[str, str]]:
    """Yield the values of each training job as strings, as SageMaker passes them."""
    ranges = config.get("ParameterRanges") or {}
    categories = {item["Name"]: item["Values"] for item in ranges.get("CategoricalParameterRanges") or []}
    if config["Strategy"] == "Grid":
        for values in itertools.product(*categories.values()):
            yield dict(zip(categories, values, strict=True))
        return
    source = random.Random(config.get("RandomSeed", 0))
    while True:
        drawn = {}
        for item in ranges.get("IntegerParameterRanges") or []:
            drawn[item["Name"]] = str(round(_between(source, item)))
        for item in ranges.get("ContinuousParameterRanges") or []:
            drawn[item["Name"]] = repr(_between(source, item))
        for name, values in categories.items():
            drawn[name] = source.choice(values)
        yield drawn


def _between(source: random.Random, item: dict[str, str]) -> float:
    low, high = float(item["MinValue"]), float(item["MaxValue"])
    scaling = item.get("ScalingType", "Auto")
    if scaling == "Logarithmic":
        value = math.exp(source.uniform(math.log(low), math.log(high)))
    elif scaling == "ReverseLogarithmic":
        value = 1 - math.exp(source.uniform(math.log(1 - high), math.log(1 - low)))
    else:
        value = source.uniform(low, high)
    return min(max(value, low), high)


def _run(backend: models.SageMakerModelBackend, job: models.HyperParameterTuningJob) -> None:
    status = "Failed"
    try:
        status = _tune(backend, job)
    except Exception as error:  # a defect here must fail the job, not leave it running for ever
        log.exception("tuning job %s", job.hyper_parameter_tuning_job_name)
        job.failure_reason = f"{type(error).__name__}: {error}"
    finally:
        job.last_modified_time = job.hyper_parameter_tuning_end_time = utcnow()
        job.hyper_parameter_tuning_job_status = status


def _tune(backend: models.SageMakerModelBackend, job: models.HyperParameterTuningJob) -> str:
    config = job.hyper_parameter_tuning_job_config
    max_jobs = int(config["ResourceLimits"]["MaxNumberOfTrainingJobs"])
    for number, drawn in enumerate(itertools.islice(draws(config), max_jobs), start=1):
        if job.stop_requested.is_set():
            break
        _train_one(backend, job, number, drawn)
    measured = [s for s in job.summaries if "FinalHyperParameterTuningJobObjectiveMetric" in s]
    if measured:
        minimize = config["HyperParameterTuningJobObjective"]["Type"] == "Minimize"
        job.best_training_job = (min if minimize else max)(
            measured, key=lambda s: s["FinalHyperParameterTuningJobObjectiveMetric"]["Value"]
        )
    if job.stop_requested.is_set():
        return "Stopped"
    if not measured:
        job.failure_reason = "All training jobs failed. Read their logs."
        return "Failed"
    return "Completed"


def _train_one(
    backend: models.SageMakerModelBackend,
    job: models.HyperParameterTuningJob,
    number: int,
    drawn: dict[str, str],
) -> None:
    definition = job.training_job_definition
    objective = job.hyper_parameter_tuning_job_config["HyperParameterTuningJobObjective"]
    name = f"{job.hyper_parameter_tuning_job_name}-{number:03d}-{uuid.uuid4().hex[:8]}"
    hyper_parameters = {
        **(definition.get("StaticHyperParameters") or {}),
        **drawn,
        "_tuning_objective_metric": objective["MetricName"],
    }
    with training.request_fields.set(Environment=definition.get("Environment")):
        trained = _create_training_job(backend, name, hyper_parameters, definition)
    summary: dict[str, Any] = {
        "TrainingJobName": name,
        "TrainingJobArn": trained.arn,
        "CreationTime": trained.creation_time,
        "TrainingJobStatus": "InProgress",
        "TunedHyperParameters": drawn,
    }
    job.summaries.append(summary)
    job.training_job_status_counters["InProgress"] = 1
    training.wait_for(trained)
    job.training_job_status_counters["InProgress"] = 0
    summary["TrainingJobStatus"] = trained.training_job_status
    summary["TrainingEndTime"] = trained.training_end_time
    value = next(
        (m["Value"] for m in trained.final_metric_data_list if m["MetricName"] == objective["MetricName"]),
        None,
    )
    if trained.training_job_status == "Completed" and value is not None:
        summary["ObjectiveStatus"] = "Succeeded"
        summary["FinalHyperParameterTuningJobObjectiveMetric"] = {**objective, "Value": value}
        job.training_job_status_counters["Completed"] += 1
        job.objective_status_counters["Succeeded"] += 1
    else:
        summary["ObjectiveStatus"] = "Failed"
        summary["FailureReason"] = getattr(trained, "failure_reason", "no objective metric in the log")
        kind = "Stopped" if trained.training_job_status == "Stopped" else "NonRetryableError"
        job.training_job_status_counters[kind] += 1
        job.objective_status_counters["Failed"] += 1


def _create_training_job(
    backend: models.SageMakerModelBackend,
    name: str,
    hyper_parameters: dict[str, str],
    definition: dict[str, Any],
) -> models.FakeTrainingJob:
    return backend.create_training_job(
        training_job_name=name,
        hyper_parameters=hyper_parameters,
        algorithm_specification=dict(definition["AlgorithmSpecification"]),
        role_arn=definition["RoleArn"],
        input_data_config=definition.get("InputDataConfig") or [],
        output_data_config=definition["OutputDataConfig"],
        resource_config=definition.get("ResourceConfig") or {},
        vpc_config=definition.get("VpcConfig"),
        stopping_condition=definition.get("StoppingCondition") or {},
        tags=[],
        enable_network_isolation=False,
        enable_inter_container_traffic_encryption=False,
        enable_managed_spot_training=definition.get("EnableManagedSpotTraining", False),
        checkpoint_config=definition.get("CheckpointConfig"),
        debug_hook_config=None,
        debug_rule_configurations=None,
        tensor_board_output_config=None,
        experiment_config=None,
    )
