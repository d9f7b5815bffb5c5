"""Endpoints of both kinds: what cannot be changed, how long a deletion takes, and how instances follow the requests."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.testing import wait_for
from local.tests.integration.aws.clients import Aws
from local.tests.integration.aws.sagemaker import invoke, make_model, prepare, settled_endpoint

pytestmark = pytest.mark.local_stack


def unique(prefix: str) -> str:
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="module")
def bucket(aws: Aws) -> str:
    return prepare(aws)


def make_realtime(
    aws: Aws, bucket: str, name: str, instance_type: str = "ml.c6i.large", count: int = 1
) -> None:
    """Create a model and the configuration of a real-time endpoint, both with this name."""
    make_model(aws, bucket, name)
    sagemaker = aws.client("sagemaker")
    sagemaker.delete_endpoint_config(EndpointConfigName=name)
    variant = {
        "VariantName": "all-traffic",
        "ModelName": name,
        "InitialInstanceCount": count,
        "InstanceType": instance_type,
    }
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])


def instances(aws: Aws, name: str) -> int:
    described = aws.client("sagemaker").describe_endpoint(EndpointName=name)
    return int(described["ProductionVariants"][0]["CurrentInstanceCount"])


def target(name: str) -> dict[str, Any]:
    return {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{name}/variant/all-traffic",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }


def test_serverless_becomes_realtime_and_never_serverless_again(aws: Aws, bucket: str) -> None:
    serverless, realtime, name = unique("serverless"), unique("realtime"), unique("shop")
    client = aws.client("sagemaker")
    make_model(aws, bucket, serverless)
    make_realtime(aws, bucket, realtime)
    client.create_endpoint(EndpointName=name, EndpointConfigName=serverless)
    settled_endpoint(aws, name)
    client.update_endpoint(EndpointName=name, EndpointConfigName=realtime)
    assert settled_endpoint(aws, name)["EndpointConfigName"] == realtime
    with pytest.raises(ClientError, match="cannot convert") as refused:
        client.update_endpoint(EndpointName=name, EndpointConfigName=serverless)
    assert refused.value.response["Error"]["Code"] == "ValidationException"
    client.delete_endpoint(EndpointName=name)


def test_the_name_of_an_endpoint_is_taken_until_its_deletion_ends(aws: Aws, bucket: str) -> None:
    name = unique("shop")
    client = aws.client("sagemaker")
    make_model(aws, bucket, name)
    client.create_endpoint(EndpointName=name, EndpointConfigName=name)
    settled_endpoint(aws, name)
    client.delete_endpoint(EndpointName=name)
    assert client.describe_endpoint(EndpointName=name)["EndpointStatus"] == "Deleting"
    with pytest.raises(ClientError, match="already existing"):
        client.create_endpoint(EndpointName=name, EndpointConfigName=name)
    client.get_waiter("endpoint_deleted").wait(EndpointName=name, WaiterConfig={"Delay": 1})
    client.create_endpoint(EndpointName=name, EndpointConfigName=name)
    assert settled_endpoint(aws, name)["EndpointStatus"] == "InService"
    client.delete_endpoint(EndpointName=name)


def test_instances_follow_the_requests_and_scaling_protects_the_instance_type(aws: Aws, bucket: str) -> None:
    first, larger, name = unique("first"), unique("larger"), unique("shop")
    client, autoscaling = aws.client("sagemaker"), aws.client("application-autoscaling")
    make_realtime(aws, bucket, first)
    make_realtime(aws, bucket, larger, instance_type="ml.c6i.xlarge")
    client.create_endpoint(EndpointName=name, EndpointConfigName=first)
    settled_endpoint(aws, name)
    assert instances(aws, name) == 1
    autoscaling.register_scalable_target(**target(name), MinCapacity=1, MaxCapacity=2)
    autoscaling.put_scaling_policy(
        **target(name),
        PolicyName="requests",
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": 60.0,
            "PredefinedMetricSpecification": {
                "PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"
            },
        },
    )

    def scaled_out() -> bool:
        for _ in range(20):
            invoke(aws, name, {"k": 1})
        return instances(aws, name) == 2

    assert wait_for(scaled_out, timeout_s=60)
    with pytest.raises(ClientError, match="must be deregistered"):
        client.update_endpoint(EndpointName=name, EndpointConfigName=larger)
    assert wait_for(lambda: instances(aws, name) == 1, timeout_s=60), (
        "without requests, one instance is enough"
    )

    autoscaling.deregister_scalable_target(**target(name))
    with pytest.raises(autoscaling.exceptions.ObjectNotFoundException):
        autoscaling.deregister_scalable_target(**target(name))
    client.update_endpoint(EndpointName=name, EndpointConfigName=larger)
    assert settled_endpoint(aws, name)["EndpointConfigName"] == larger
    client.delete_endpoint(EndpointName=name)


def test_an_update_that_retains_properties_keeps_the_number_of_instances(aws: Aws, bucket: str) -> None:
    first, second, name = unique("first"), unique("second"), unique("shop")
    client = aws.client("sagemaker")
    make_realtime(aws, bucket, first, count=2)
    make_realtime(aws, bucket, second, count=1)
    client.create_endpoint(EndpointName=name, EndpointConfigName=first)
    settled_endpoint(aws, name)
    client.update_endpoint(EndpointName=name, EndpointConfigName=second, RetainAllVariantProperties=True)
    assert settled_endpoint(aws, name)["EndpointConfigName"] == second
    assert instances(aws, name) == 2
    client.update_endpoint(EndpointName=name, EndpointConfigName=first)
    settled_endpoint(aws, name)
    client.update_endpoint(EndpointName=name, EndpointConfigName=second)
    settled_endpoint(aws, name)
    assert instances(aws, name) == 1
    client.delete_endpoint(EndpointName=name)
