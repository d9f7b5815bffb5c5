"""The lines of shoppers' requests: API Gateway, Lambda, Firehose, the endpoint, data transfer, traces and logs."""

from collections.abc import Iterator
from math import ceil

from deploy.bill.month import (
    DAYS,
    FIREHOSE_STEP_BYTES,
    GB,
    HOURS,
    SECONDS,
    Line,
    Month,
    line,
    memory_gb,
    number,
)

# Chalice deploys every Lambda for x86_64: it has no setting for arm64.
ARCHITECTURE = "x86_64"
# A traced Lambda records the first request of each second, and five percent of the others.
# https://docs.aws.amazon.com/xray/latest/devguide/xray-console-sampling.html
SAMPLED_SHARE = 0.05


def edge_lines(month: Month) -> Iterator[Line]:
    """Yield the lines that grow with requests."""
    yield from _gateway(month)
    yield from lambda_lines(month)
    yield from _firehose(month)
    yield from _endpoint(month)
    yield from _transfer(month)
    yield from _traces(month)
    yield from _logs(month)


def _gateway(month: Month) -> Iterator[Line]:
    events, shown, scripts = month.event_requests, month.workload.recommendations, month.script_requests
    yield line(
        "API Gateway",
        "requests",
        month.prices["api_gateway.request"],
        events + shown + scripts,
        f"({number(events)} with events + {number(shown)} for carousels + {number(scripts)} for scripts)",
    )


def lambda_lines(month: Month) -> Iterator[Line]:
    """Yield the requests of all Lambdas, and the GB-seconds of each."""
    yield line(
        "Lambda",
        "requests",
        month.prices["lambda.request"],
        month.lambda_calls,
        f"{number(month.lambda_calls)} calls of all Lambdas",
    )
    price = month.prices[f"lambda.gb_second.{ARCHITECTURE}"]
    for name, calls in month.calls.items():
        gb = memory_gb(name)
        yield line(
            "Lambda",
            f"{name}: GB-seconds",
            price,
            calls.count * calls.seconds * gb,
            f"{number(calls.count)} calls x {number(calls.seconds)} s x {number(gb)} GB",
        )


def _firehose(month: Month) -> Iterator[Line]:
    """Yield the ingestion. collect joins the events of a request to one record, and each record is rounded up."""
    price = month.prices["firehose.gb"]
    each = max(1, month.assumed.events_per_request)
    steps = ceil(each * month.assumed.line_bytes / FIREHOSE_STEP_BYTES)
    for stream, records in (
        ("events", month.event_requests),
        ("rejected", month.event_requests * month.assumed.rejected_share),
    ):
        yield line(
            "Firehose",
            f"{stream}: ingestion",
            price,
            records * steps * FIREHOSE_STEP_BYTES / GB,
            f"{number(records)} records of {number(each)} x {number(month.assumed.line_bytes)} bytes, "
            f"each rounded up to {5 * steps} KB, / 1,048,576 KB",
        )


def _endpoint(month: Month) -> Iterator[Line]:
    stage, asked = month.stage, month.workload.recommendations
    if stage.endpoint_kind == "serverless":
        seconds = asked * month.assumed.endpoint_ms / 1000
        yield line(
            "SageMaker",
            "serverless endpoint",
            month.prices[f"sagemaker.serverless.{stage.endpoint_memory_mb}"],
            seconds,
            f"{number(asked)} requests x {number(month.assumed.endpoint_ms)} ms in {stage.endpoint_memory_mb} MB",
        )
    else:
        instances = month.endpoint_instances
        yield line(
            "SageMaker",
            "real-time endpoint",
            month.prices.instance(stage.endpoint_instance_type),
            instances * HOURS,
            f"{number(instances)} {stage.endpoint_instance_type} x {HOURS} hours",
        )
        yield line(
            "SageMaker",
            "real-time endpoint of candidates",
            month.prices.instance(stage.endpoint_instance_type),
            month.shops * stage.endpoint_min_instances * month.candidate_hours,
            f"{month.shops * stage.endpoint_min_instances} {stage.endpoint_instance_type} x "
            f"{number(month.candidate_hours)} hours of proofs and canaries",
        )
    yield line(
        "SageMaker",
        "data through the endpoint",
        month.prices["sagemaker.data_gb"],
        asked * month.assumed.endpoint_request_kb / 1024**2,
        f"{number(asked)} requests x {number(month.assumed.endpoint_request_kb)} KB / 1,048,576 KB",
    )


def _transfer(month: Month) -> Iterator[Line]:
    assumed = month.assumed
    parts = (
        (month.event_requests, assumed.collect_response_bytes),
        (month.workload.recommendations, assumed.recommend_response_bytes),
        (month.script_requests, assumed.script_response_bytes),
    )
    yield line(
        "Data transfer",
        "responses to the internet",
        month.prices["transfer.out_gb"],
        sum(count * size for count, size in parts) / GB,
        f"({' + '.join(f'{number(count)} x {number(size)}' for count, size in parts)} bytes) / 1,073,741,824",
    )


def traces(requests: float) -> float:
    """Return the recorded traces of a month of evenly spread requests: the most that the sampling records."""
    first = min(requests, SECONDS)
    return first + SAMPLED_SHARE * (requests - first)


def _traces(month: Month) -> Iterator[Line]:
    if not month.stage.tracing:
        return
    api, collect, runs = (month.calls[name].count for name in ("api_handler", "collect", "compact"))
    yield line(
        "X-Ray",
        "traces recorded",
        month.prices["xray.trace"],
        traces(api) + traces(collect) + 2 * runs,
        f"({number(traces(api))} of {number(api)} calls of api_handler + {number(traces(collect))} of {number(collect)} "
        f"of collect + {number(2 * runs)} of runs)",
    )


def _logs(month: Month) -> Iterator[Line]:
    assumed, runs = month.assumed, month.workload.runs
    ingested = month.lambda_calls * assumed.log_bytes_per_call + runs * assumed.log_bytes_per_run
    yield line(
        "CloudWatch",
        "logs: ingestion",
        month.prices["cloudwatch.logs.ingested_gb"],
        ingested / GB,
        f"({number(month.lambda_calls)} calls x {number(assumed.log_bytes_per_call)} bytes + {number(runs)} runs x "
        f"{number(assumed.log_bytes_per_run)} bytes) / 1,073,741,824",
    )
    kept_days = min(month.history_days, month.stage.log_retention_days)
    yield line(
        "CloudWatch",
        "logs: storage",
        month.prices["cloudwatch.logs.stored_gb_month"],
        ingested / GB / DAYS * kept_days * assumed.log_compression,
        f"{number(ingested / GB)} GB per month x {number(kept_days)} of {DAYS} days x {number(assumed.log_compression)}",
    )
