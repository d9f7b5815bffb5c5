"""The lines of what is only there: alarms, the dashboard, secrets, images. They cost the same without events."""

from collections.abc import Iterator

from deploy.bill.month import HOURS, Line, Month, line, number
from deploy.bill.stack import alarm_metrics, canary_metrics, metrics_at_most, metrics_written, of_type

# Snowflake's login of the pipeline, which a person creates. The template has the other secrets.
SECRETS_BY_HAND = 1
# Target tracking creates one alarm for scaling out and one for scaling in.
SCALING_ALARMS = 2


def standing_lines(month: Month) -> Iterator[Line]:
    """Yield the lines of a deployed stage in which nothing happens."""
    prices, assumed, shops = month.prices, month.assumed, month.shops
    of_stack = alarm_metrics(shops, of_model_age=bool(month.stage.model_max_age_hours))
    scaling = SCALING_ALARMS * shops if month.stage.endpoint_kind == "realtime" else 0
    yield line(
        "CloudWatch",
        "alarms",
        prices["cloudwatch.alarm_metric_month"],
        of_stack + scaling,
        f"({of_stack} metrics of the stack's alarms + {scaling} of scaling)",
    )
    if month.events or month.workload.recommendations:
        yield line(
            "CloudWatch",
            "metrics of our own",
            prices["cloudwatch.metric_month"],
            metrics_written(shops),
            f"{metrics_written(shops)} metrics; {metrics_at_most(shops)} at most, with every reason in every hour",
        )
        if month.canary_shares and month.workload.runs:
            # A metric is billed for the hours in which it has values.
            hours = min(HOURS, month.candidate_hours)
            yield line(
                "CloudWatch",
                "metrics of canaries",
                prices["cloudwatch.metric_month"],
                shops * canary_metrics() * hours / HOURS,
                f"{shops * canary_metrics()} metrics x {number(hours)} of {HOURS} hours",
            )
    dashboards = len(of_type("AWS::CloudWatch::Dashboard"))
    yield line(
        "CloudWatch",
        "dashboard",
        prices["cloudwatch.dashboard_month"],
        dashboards,
        f"{dashboards} dashboard",
    )
    yield from _page_lines(month)
    secrets = len(of_type("AWS::SecretsManager::Secret")) + SECRETS_BY_HAND
    yield line(
        "Secrets Manager",
        "secrets",
        prices["secrets_manager.secret_month"],
        secrets,
        f"{secrets} secrets",
    )
    reads = month.lambda_calls * assumed.secret_reads_per_1000_calls / 1000
    yield line(
        "Secrets Manager",
        "reads",
        prices["secrets_manager.request"],
        reads,
        f"{number(month.lambda_calls)} calls of Lambdas x {number(assumed.secret_reads_per_1000_calls)} / 1000",
    )
    yield line(
        "ECR",
        "images of the endpoint",
        prices["ecr.gb_month"],
        assumed.images_kept * assumed.image_gb,
        f"{number(assumed.images_kept)} images x {number(assumed.image_gb)} GB",
    )
    builds = assumed.image_builds_per_month if month.workload.runs else 0
    yield line(
        "CodeBuild",
        "image builds",
        prices["codebuild.small_minute"],
        builds * assumed.image_build_minutes,
        f"{number(builds)} builds x {number(assumed.image_build_minutes)} minutes",
    )


def _page_lines(month: Month) -> Iterator[Line]:
    """Yield what the operations page reads and writes. Its Lambda is among the others."""
    prices, assumed, builds = month.prices, month.assumed, month.page_builds
    for service, item, price, each in (
        ("CloudWatch", "metrics of the operations page", "cloudwatch.metric_read", assumed.page_metrics),
        ("S3", "writes and lists of the operations page", "s3.write", assumed.page_writes),
        ("S3", "reads of the operations page", "s3.read", assumed.page_reads),
    ):
        yield line(service, item, prices[price], builds * each, f"{number(builds)} rebuilds x {number(each)}")
