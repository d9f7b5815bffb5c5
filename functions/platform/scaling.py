"""Autoscaling of a real-time endpoint: instances follow the number of requests per instance and minute.

https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-auto-scaling.html
"""

from typing import Any

from functions.platform.log import get_logger
from functions.platform.settings import PublishSettings

log = get_logger(__name__)

VARIANT = "all-traffic"
POLICY = "requests-per-instance"
# A carousel's shop fills within minutes and empties over hours.
SCALE_OUT_COOLDOWN_S, SCALE_IN_COOLDOWN_S = 60, 600


def scale(name: str, settings: PublishSettings, autoscaling: Any) -> None:
    """Let the instances of an endpoint that is in service follow its requests, within the limits of the settings."""
    target = _target(name)
    autoscaling.register_scalable_target(
        **target, MinCapacity=settings.endpoint_min_instances, MaxCapacity=settings.endpoint_max_instances
    )
    autoscaling.put_scaling_policy(
        **target,
        PolicyName=POLICY,
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": float(settings.endpoint_requests_per_instance_minute),
            "PredefinedMetricSpecification": {
                "PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"
            },
            "ScaleOutCooldown": SCALE_OUT_COOLDOWN_S,
            "ScaleInCooldown": SCALE_IN_COOLDOWN_S,
        },
    )
    log.info(
        "endpoint scales with its requests",
        endpoint=name,
        min_instances=settings.endpoint_min_instances,
        max_instances=settings.endpoint_max_instances,
    )


def stop_scaling(name: str, autoscaling: Any) -> None:
    """Leave the number of instances as it is. SageMaker refuses another instance type while an endpoint scales."""
    from botocore.exceptions import ClientError

    try:
        autoscaling.deregister_scalable_target(**_target(name))
    except ClientError as error:
        if error.response["Error"]["Code"] != "ObjectNotFoundException":  # it did not scale
            raise


def _target(name: str) -> dict[str, str]:
    return {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{name}/variant/{VARIANT}",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }
