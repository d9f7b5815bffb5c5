"""Models and endpoint configurations, with AWS's checks, written down so that they survive the process.

moto 5.2.5 overwrites an existing name silently (AWS refuses), knows an old list of instance types, and forgets everything.
"""

from __future__ import annotations

import contextlib
import json
import threading
from pathlib import Path
from typing import Any

from moto.sagemaker import models
from moto.sagemaker.exceptions import AWSValidationException, ValidationError

from local.aws.sagemaker import names
from local.aws.settings import ACCOUNT_ID, REGION, Settings


class Journal:
    """One JSON file of what exists, replaced atomically at every change."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._state: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.exists() else {}

    def all(self, kind: str) -> dict[str, Any]:
        return dict(self._state.get(kind, {}))

    def put(self, kind: str, name: str, about: Any) -> None:
        with self._lock:
            self._state.setdefault(kind, {})[name] = about
            self._write()

    def remove(self, kind: str, name: str) -> None:
        with self._lock:
            self._state.get(kind, {}).pop(name, None)
            self._write()

    def _write(self) -> None:
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps(self._state, indent=1))
        part.replace(self.path)


def backend() -> models.SageMakerModelBackend:
    """SageMaker itself."""
    return models.sagemaker_backends[ACCOUNT_ID][REGION]


def install(settings: Settings) -> Journal:
    """Patches moto, restores models and endpoint configurations, returns the journal."""
    journal = Journal(settings.state / "sagemaker" / "resources.json")
    _accept_every_instance_type()
    for name, about in journal.all("models").items():
        backend().create_model(model_name=name, **about)
    for name, about in journal.all("endpoint_configs").items():
        with contextlib.suppress(ValidationError):  # its model was deleted since
            backend().create_endpoint_config(endpoint_config_name=name, **about)
    _keep_models(journal)
    _keep_endpoint_configs(journal)
    return journal


def _accept_every_instance_type() -> None:
    def validate_instance_type(self: models.FakeEndpointConfig, instance_type: str) -> None:
        if not instance_type.startswith("ml."):
            raise AWSValidationException(
                f"1 validation error detected: Value '{instance_type}' at 'productionVariants.1.member.instanceType' "
                "failed to satisfy constraint: Member must satisfy enum value set"
            )

    models.FakeEndpointConfig.validate_instance_type = validate_instance_type


def _keep_models(journal: Journal) -> None:
    create, delete = models.SageMakerModelBackend.create_model, models.SageMakerModelBackend.delete_model

    def create_model(self: models.SageMakerModelBackend, **given: Any) -> models.Model:
        name = given["model_name"]
        names.check("modelName", name)
        if name in self._models:
            raise AWSValidationException(f'Cannot create already existing model "{self._models[name].arn}".')
        model = create(self, **given)
        journal.put("models", name, {key: value for key, value in given.items() if key != "model_name"})
        return model

    def delete_model(self: models.SageMakerModelBackend, model_name: str) -> None:
        delete(self, model_name)
        journal.remove("models", model_name)

    models.SageMakerModelBackend.create_model = create_model
    models.SageMakerModelBackend.delete_model = delete_model


def _keep_endpoint_configs(journal: Journal) -> None:
    create = models.SageMakerModelBackend.create_endpoint_config
    delete = models.SageMakerModelBackend.delete_endpoint_config

    def create_endpoint_config(self: models.SageMakerModelBackend, **given: Any) -> models.FakeEndpointConfig:
        name = given["endpoint_config_name"]
        names.check("endpointConfigName", name)
        if name in self.endpoint_configs:
            arn = self.endpoint_configs[name].endpoint_config_arn
            raise AWSValidationException(f'Cannot create already existing endpoint configuration "{arn}".')
        config = create(self, **given)
        about = {key: value for key, value in given.items() if key != "endpoint_config_name"}
        journal.put("endpoint_configs", name, about)
        return config

    def delete_endpoint_config(self: models.SageMakerModelBackend, endpoint_config_name: str) -> None:
        delete(self, endpoint_config_name)
        journal.remove("endpoint_configs", endpoint_config_name)

    models.SageMakerModelBackend.create_endpoint_config = create_endpoint_config
    models.SageMakerModelBackend.delete_endpoint_config = delete_endpoint_config
