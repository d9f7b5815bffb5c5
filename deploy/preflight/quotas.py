"""Checks of the account's quotas. New accounts often have 0 GPU instances and 10 concurrent Lambdas."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from deploy.lambdas import LAMBDAS
from deploy.preflight.finding import Finding
from deploy.stages import Stage

# Lambda refuses a reservation that leaves the account less. A new account has 10, which throttles the first pages.
# https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html
LAMBDA_UNRESERVED_MIN = 100
SERVERLESS_CONCURRENCY = "Maximum total concurrency that can be allocated across all serverless endpoints"
BUILDS = "Concurrently running builds for Linux/Small environment"
CONSOLE = "https://{region}.console.aws.amazon.com/servicequotas/home/services/{service}/quotas/{code}"


class Need(NamedTuple):
    """A quota by the name that Service Quotas gives it, and the value that the stage needs."""

    service: str
    name: str
    minimum: float
    purpose: str


def needs(stage: Stage) -> list[Need]:
    """Return the quotas that the stage's settings need."""
    reserved = sum(one.max_concurrency(stage) for one in LAMBDAS if one.max_concurrency)
    kind = "spot training" if stage.use_spot else "training"
    shops = len(stage.served_shops)
    at_once = min(shops, stage.shops_at_once)
    serving = (
        # The endpoint of each shop, and during a run that of its candidate.
        Need(
            "sagemaker",
            SERVERLESS_CONCURRENCY,
            (shops + at_once) * stage.endpoint_max_concurrency,
            "the serverless endpoints",
        )
        if stage.endpoint_kind == "serverless"
        # While an endpoint moves to a new model, the old and the new instance run side by side, and the candidate's too.
        else Need(
            "sagemaker",
            f"{stage.endpoint_instance_type} for endpoint usage",
            (shops + 2 * at_once) * stage.endpoint_min_instances,
            "the real-time endpoints",
        )
    )
    return [
        Need("lambda", "Concurrent executions", reserved + LAMBDA_UNRESERVED_MIN, "the Lambdas"),
        Need("sagemaker", f"{stage.training_instance_type} for {kind} job usage", at_once, "Train"),
        Need("sagemaker", f"{stage.processing_instance_type} for processing job usage", at_once, "Evaluate"),
        serving,
        Need("codebuild", BUILDS, 1, "the image build"),
    ]


def check_quotas(stage: Stage, service_quotas: Any) -> Iterator[Finding]:
    """Compare the account's quotas with what the stage needs.

    https://docs.aws.amazon.com/servicequotas/2019-06-24/apireference/API_ListServiceQuotas.html
    """
    known: dict[str, dict[str, dict[str, Any]] | str] = {}
    for need in needs(stage):
        if need.service not in known:
            known[need.service] = _quotas(need.service, service_quotas)
        quotas = known[need.service]
        yield _finding(need, quotas, stage.region)


def _quotas(service: str, service_quotas: Any) -> dict[str, dict[str, Any]] | str:
    """Return the quotas of a service by name: the applied values, else AWS's defaults. A text says why there are none."""
    found: dict[str, dict[str, Any]] = {}
    try:
        for operation in ("list_aws_default_service_quotas", "list_service_quotas"):
            for page in service_quotas.get_paginator(operation).paginate(ServiceCode=service):
                found |= {quota["QuotaName"]: quota for quota in page["Quotas"]}
    except (BotoCoreError, ClientError) as error:
        return str(error)
    return found


def _finding(need: Need, quotas: dict[str, dict[str, Any]] | str, region: str) -> Finding:
    subject = f"quota for {need.purpose}"
    if isinstance(quotas, str):
        return Finding(
            subject,
            "unchecked",
            quotas,
            f"allow servicequotas:ListServiceQuotas and servicequotas:ListAWSDefaultServiceQuotas, or look up "
            f"{need.name!r} of {need.service} in the console: {need.minimum:g} are needed",
        )
    quota = quotas.get(need.name)
    console = CONSOLE.format(region=region, service=need.service, code=quota["QuotaCode"] if quota else "")
    if quota is None:
        return Finding(
            subject,
            "unchecked",
            f"Service Quotas does not list {need.name!r} of {need.service}",
            f"look for it at {console}: {need.minimum:g} are needed",
        )
    if quota["Value"] < need.minimum:
        return Finding(
            subject,
            "failed",
            f"{need.name} is {quota['Value']:g}, needed: {need.minimum:g}",
            f"aws service-quotas request-service-quota-increase --region {region} --service-code {need.service} "
            f"--quota-code {quota['QuotaCode']} --desired-value {need.minimum:g} (hours to days), or {console}",
        )
    return Finding(subject, "passed", f"{need.name} is {quota['Value']:g}, needed: {need.minimum:g}")
