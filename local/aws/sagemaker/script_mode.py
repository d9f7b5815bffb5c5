"""Preparation of a script-mode training container before the script starts: files, SM_* variables, arguments."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moto.sagemaker import models

from local.aws.sagemaker import files
from local.aws.sagemaker.container import Container


@dataclass(frozen=True)
class Program:
    """The command of a container with its environment and folder."""

    command: list[str]
    environment: dict[str, str]
    cwd: Path


def prepare(job: models.FakeTrainingJob, container: Container) -> Program:
    """Create the folders of /opt/ml and download channels and code; return the program.

    Raises:
        MissingObject: a channel or the code is not in S3.
    """
    for folder in ("input/config", "input/data", "model", "output/data", "output/intermediate", "code"):
        container.path(f"/opt/ml/{folder}").mkdir(parents=True, exist_ok=True)
    hyperparameters = {name: container.inside(value) for name, value in (job.hyper_parameters or {}).items()}
    channels = _channels(job, container)
    _write_config(container, hyperparameters, channels)
    code = container.path("/opt/ml/code")
    decoded = {name: _decoded(value) for name, value in hyperparameters.items()}
    source = decoded.get("sagemaker_submit_directory")
    if source:
        files.unpack(files.read(container.session, str(source)), code)
    user = {name: value for name, value in decoded.items() if not name.startswith(("sagemaker_", "_tuning_"))}
    arguments = [part for name, value in user.items() for part in (f"--{name}", _argument(value))]
    program = str(decoded.get("sagemaker_program", "train.py"))
    environment = _environment(job, container, user, list(channels), arguments, program)
    return Program(
        [container.settings.container_python, program, *arguments],
        container.environment({**environment, **job.environment}),
        code,
    )


def _channels(job: models.FakeTrainingJob, container: Container) -> dict[str, dict[str, Any]]:
    channels: dict[str, dict[str, Any]] = {}
    for channel in job.input_data_config or []:
        name, source = channel["ChannelName"], channel["DataSource"]["S3DataSource"]
        folder = container.path(f"/opt/ml/input/data/{name}")
        found = files.download(container.session, source["S3Uri"], folder)
        if not found:
            raise files.MissingObject(
                f"No S3 objects found under S3 URL {source['S3Uri']} given in input data source of channel {name}"
            )
        channels[name] = {
            "ContentType": channel.get("ContentType"),
            "TrainingInputMode": channel.get("InputMode", "File"),
            "S3DistributionType": source.get("S3DataDistributionType", "FullyReplicated"),
            "RecordWrapperType": "None",
        }
    return channels


def _write_config(
    container: Container, hyperparameters: dict[str, str], channels: dict[str, dict[str, Any]]
) -> None:
    config = container.path("/opt/ml/input/config")
    resources = {"current_host": "algo-1", "hosts": ["algo-1"], "network_interface_name": "lo"}
    for name, value in (
        ("hyperparameters", hyperparameters),
        ("inputdataconfig", channels),
        ("resourceconfig", resources),
    ):
        (config / f"{name}.json").write_text(json.dumps(value))


def _environment(
    job: models.FakeTrainingJob,
    container: Container,
    user: dict[str, Any],
    channels: list[str],
    arguments: list[str],
    program: str,
) -> dict[str, str]:
    instance = (job.resource_config or {}).get("InstanceType", "local")
    gpus = len(list(Path("/dev").glob("nvidia[0-9]*")))
    return {
        "TRAINING_JOB_NAME": job.training_job_name,
        "TRAINING_JOB_ARN": job.arn,
        "SAGEMAKER_JOB_NAME": job.training_job_name,
        "PYTHONPATH": "/opt/ml/code",
        "SM_MODEL_DIR": "/opt/ml/model",
        "SM_OUTPUT_DIR": "/opt/ml/output",
        "SM_OUTPUT_DATA_DIR": "/opt/ml/output/data",
        "SM_OUTPUT_INTERMEDIATE_DIR": "/opt/ml/output/intermediate",
        "SM_INPUT_DIR": "/opt/ml/input",
        "SM_INPUT_CONFIG_DIR": "/opt/ml/input/config",
        "SM_MODULE_DIR": "/opt/ml/code",
        "SM_MODULE_NAME": program.removesuffix(".py"),
        "SM_USER_ENTRY_POINT": program,
        "SM_USER_ARGS": json.dumps(arguments),
        "SM_HPS": json.dumps(user),
        "SM_CHANNELS": json.dumps(channels),
        "SM_CURRENT_HOST": "algo-1",
        "SM_HOSTS": '["algo-1"]',
        "SM_NETWORK_INTERFACE_NAME": "lo",
        "SM_CURRENT_INSTANCE_TYPE": instance,
        "SM_NUM_CPUS": str(os.cpu_count()),
        "SM_NUM_GPUS": str(gpus),
        "SM_LOG_LEVEL": "20",
        **{f"SM_CHANNEL_{name.upper()}": f"/opt/ml/input/data/{name}" for name in channels},
        **{f"SM_HP_{name.upper()}": _argument(value) for name, value in user.items()},
    }


def _decoded(value: str) -> Any:
    """Decode a hyperparameter, which the SageMaker SDK encodes as JSON; return plain text unchanged."""
    try:
        return json.loads(value)
    except ValueError:
        return value


def _argument(value: Any) -> str:
    return (
        value
        if isinstance(value, str)
        else json.dumps(value)
        if isinstance(value, dict | list)
        else str(value)
    )
