"""All patches of moto's SageMaker, in the order that their restores need."""

from __future__ import annotations

from local.aws.ecr import Registry
from local.aws.sagemaker import autoscaling, endpoints, invocations, processing, resources, training, tuning
from local.aws.settings import Settings


def install(settings: Settings, registry: Registry) -> None:
    """Patch moto; restore models, endpoint configurations and endpoints. S3 and ECR must be restored before."""
    journal = resources.install(settings)
    training.install(settings)
    processing.install(settings, registry)
    tuning.install()
    servers = endpoints.install(settings, registry, journal)
    invocations.install(servers)
    autoscaling.install(servers)


def stop_all() -> None:
    """Stop all model servers. The sweep of child processes ends jobs."""
    endpoints.stop_all()
