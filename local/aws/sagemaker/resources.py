"""Models and endpoint configurations: AWS's checks, and a journal from which they are restored.

moto 5.2.5 silently overwrites an existing name, which AWS refuses. Its list of instance types is old, and it stores nothing.
"""

from __future__ import annotations

import contextlib
from typing import Any

from moto.sagemaker import models
from moto.sagemaker.exceptions import AWSValidationException, ValidationError

from local.aws.journal import Journal
from local.aws.settings import ACCOUNT_ID, REGION, Settings


def backend() -> models.SageMakerModelBackend:
    """Return moto's SageMaker."""
    return models.sagemaker_backends[ACCOUNT_ID][REGION]


def install(settings: Settings) -> Journal:
    """Patch moto, restore models and endpoint configurations, and return their journal."""
    journal = Journal(settings.state / "sagemaker" / "resources.json")
    _accept_every_instance_type()
    for name, record in journal.all("models").items():
        backend().create_model(model_name=name, **record)
    for name, record in journal.all("endpoint_configs").items():
        with contextlib.suppress(ValidationError):  # its model was deleted later
            backend().create_endpoint_config(endpoint_config_name=name, **record)
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

    def create_model(self: models.SageMakerModelBackend, **arguments: Any) -> models.Model:
        name = arguments["model_name"]
        if name in self._models:
            raise AWSValidationException(f'Cannot create already existing model "{self._models[name].arn}".')
        model = create(self, **arguments)
        journal.put("models", name, {key: value for key, value in arguments.items() if key != "model_name"})
        return model

    def delete_model(self: models.SageMakerModelBackend, model_name: str) -> None:
        delete(self, model_name)
        journal.remove("models", model_name)

    models.SageMakerModelBackend.create_model = create_model
    models.SageMakerModelBackend.delete_model = delete_model


def _keep_endpoint_configs(journal: Journal) -> None:
    create = models.SageMakerModelBackend.create_endpoint_config
    delete = models.SageMakerModelBackend.delete_endpoint_config

    def create_endpoint_config(
        self: models.SageMakerModelBackend, **arguments: Any
    ) -> models.FakeEndpointConfig:
        name = arguments["endpoint_config_name"]
        if name in self.endpoint_configs:
            arn = self.endpoint_configs[name].endpoint_config_arn
            raise AWSValidationException(f'Cannot create already existing endpoint configuration "{arn}".')
        config = create(self, **arguments)
        record = {key: value for key, value in arguments.items() if key != "endpoint_config_name"}
        journal.put("endpoint_configs", name, record)
        return config

    def delete_endpoint_config(self: models.SageMakerModelBackend, endpoint_config_name: str) -> None:
        delete(self, endpoint_config_name)
        journal.remove("endpoint_configs", endpoint_config_name)

    models.SageMakerModelBackend.create_endpoint_config = create_endpoint_config
    models.SageMakerModelBackend.delete_endpoint_config = delete_endpoint_config
