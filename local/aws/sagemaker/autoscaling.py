"""Target tracking of real-time endpoints: the number of model servers follows the requests per instance and minute.

moto 5.2.5 keeps scalable targets and policies, and does nothing with them. AWS looks at one-minute averages and starts an
instance within minutes. Here a period is a few seconds, and a rate is scaled to a minute.
"""

from __future__ import annotations

import logging
import math
import threading
from typing import TYPE_CHECKING

from moto.applicationautoscaling.exceptions import AWSValidationException
from moto.applicationautoscaling.models import (
    ApplicationAutoscalingBackend,
    FakeScalableTarget,
    applicationautoscaling_backends,
)
from moto.core.exceptions import JsonRESTError

from local.aws.settings import ACCOUNT_ID, REGION

if TYPE_CHECKING:
    from local.aws.sagemaker.endpoints import Servers

log = logging.getLogger(__name__)

PERIOD_S = 3.0
# AWS adds an instance after three periods above the target and removes one after fifteen below nine tenths of it.
PERIODS_BELOW = 5
SCALE_IN_BELOW = 0.9
DIMENSION = "sagemaker:variant:DesiredInstanceCount"


def install(servers: Servers) -> None:
    """Patch moto's Application Auto Scaling, and start to follow the requests."""
    deregister = ApplicationAutoscalingBackend.deregister_scalable_target

    def deregister_scalable_target(
        self: ApplicationAutoscalingBackend, namespace: str, r_id: str, dimension: str
    ) -> None:
        try:
            deregister(self, namespace, r_id, dimension)
        except AWSValidationException as error:  # AWS answers ObjectNotFoundException
            raise JsonRESTError("ObjectNotFoundException", str(error.message)) from None
        self.policies = {key: one for key, one in self.policies.items() if one.resource_id != r_id}

    ApplicationAutoscalingBackend.deregister_scalable_target = deregister_scalable_target
    threading.Thread(target=_follow, args=(servers,), daemon=True, name="autoscaling").start()


def registered(endpoint: str) -> FakeScalableTarget | None:
    """Return the scalable target of an endpoint, or None."""
    targets = applicationautoscaling_backends[ACCOUNT_ID][REGION].targets.get(DIMENSION, {})
    return next((target for resource, target in targets.items() if resource.split("/")[1] == endpoint), None)


def forget(endpoint: str) -> None:
    """Deregister a deleted endpoint, as AWS does."""
    target = registered(endpoint)
    if target is not None:
        applicationautoscaling_backends[ACCOUNT_ID][REGION].deregister_scalable_target(
            "sagemaker", target.resource_id, DIMENSION
        )


def desired_count(count: int, per_minute: float, target: float, least: int, most: int) -> int:
    """Return how many instances bring the requests per instance to the target, within the limits.

    https://docs.aws.amazon.com/autoscaling/application/userguide/target-tracking-scaling-policy-overview.html
    """
    per_instance = per_minute / count
    if SCALE_IN_BELOW * target <= per_instance <= target:
        return min(max(count, least), most)
    return min(max(math.ceil(per_minute / target), least, 1), most)


def _follow(servers: Servers) -> None:
    below: dict[str, int] = {}
    while not servers.stopping.wait(PERIOD_S):
        backend = applicationautoscaling_backends[ACCOUNT_ID][REGION]
        for policy in list(backend.policies.values()):
            endpoint = policy.resource_id.split("/")[1]
            target, count = registered(endpoint), servers.count(endpoint)
            tracking = policy.target_tracking_scaling_policy_configuration
            if target is None or tracking is None or count == 0:
                continue
            per_minute = servers.take_invocations(endpoint) * 60 / PERIOD_S
            wanted = desired_count(
                count, per_minute, float(tracking["TargetValue"]), target.min_capacity, target.max_capacity
            )
            below[endpoint] = below.get(endpoint, 0) + 1 if wanted < count else 0
            if wanted > count or below[endpoint] >= PERIODS_BELOW:
                log.info("%s scales from %s to %s instances", endpoint, count, wanted)
                servers.scale(endpoint, wanted)
