"""The bill against hand-worked examples, and what holds for every bill.

The example: 3,000,000 events per month in 600,000 sessions, 900,000 carousels, 10,000 items, 30 runs, twelve months.
The assumptions are pinned here, so that a new measurement changes the bill and not its arithmetic.
"""

import dataclasses
import json
import re
from itertools import pairwise
from typing import Any

import pytest

from deploy.bill.assumptions import ASSUMPTIONS_FILE, AssumptionUnknown, read_assumptions, sources
from deploy.bill.bill import Bill, predict, warnings, workload
from deploy.bill.changes import savings
from deploy.bill.coverage import FREE, FREE_TASKS, PRICED, TASKS
from deploy.bill.edge import traces
from deploy.bill.month import Calls, Month, Workload, idle
from deploy.bill.prices import read_prices
from deploy.bill.stack import alarm_metrics, invoked_lambdas, metrics_at_most, metrics_written, resources
from deploy.bill.storage import ages
from deploy.lambdas import LAMBDAS, NAMES, named
from deploy.stages import Stage, read_stage
from deploy.step_jobs import with_jobs
from deploy.template import NIGHT_FILE, PIPELINE_FILE
from functions.platform.errors import Reason
from functions.recommend.recommend import FallbackReason

PRICES = read_prices("us-east-1")
ASSUMED = read_assumptions().with_values(
    {
        "month": 12,
        "runs_per_month": 30,
        "events_per_session": 5,
        "events_per_request": 2,
        "scripts_per_session": 2,
        "line_bytes": 600,
        "raw_gzip_bytes": 60,
        "collect_ms": 30,
        "recommend_ms": 60,
        "script_ms": 5,
        "endpoint_ms": 20,
        "load_fixed_s": 20,
        "load_s_per_million": 10,
        "transform_fixed_s": 80,
        "transform_s_per_million": 30,
        "validate_fixed_s": 80,
        "validate_s_per_million": 10,
        "export_fixed_s": 10,
        "export_s_per_million": 0,
        "auto_suspend_s": 60,
        "interactions_per_event": 0.5,
        "train_fixed_s": 200,
        "train_cpu_s_per_million": 100,
        "spot_discount": 0.6,
        "log_bytes_per_call": 1000,
        "log_bytes_per_run": 0,
        "transitions_per_run": 20,
    }
)
# [default] of stages.toml, with every setting that the examples depend on.
STAGE = dataclasses.replace(
    read_stage("dev"),
    model_max_age_hours=48,
    region="us-east-1",
    warehouse_size="XSMALL",
    transform_warehouse_size="shared",
    validate_warehouse_size="shared",
    export_warehouse_size="shared",
    runner="lambda",
    load_by="copy",
    warehouse_credits_per_month=60,
    events_buffer_seconds=60,
    events_buffer_megabytes=64,
    raw_expire_days=0,
    log_retention_days=30,
    tracing=True,
    load_on_arrival=False,
    monthly_budget_usd=0,
    training_instance_type="ml.m5.xlarge",
    use_spot=True,
    training_days=60,
    endpoint_kind="serverless",
    endpoint_memory_mb=3072,
    endpoint_instance_type="ml.c6i.large",
    endpoint_min_instances=1,
    endpoint_max_instances=4,
    endpoint_requests_per_instance_minute=12_000,
    canary_seconds=1800,
    notification_email="",
    operations_minutes=0,
)
SHOP = Workload("the shop", 3_000_000, 600_000, 900_000, 10_000, 30)


def bill(stage: Stage = STAGE, of: Workload = SHOP, **assumed: float) -> Bill:
    return predict(stage, of, ASSUMED.with_values(assumed), PRICES)


def changed(**settings: Any) -> Stage:
    return dataclasses.replace(STAGE, **settings)


def test_api_gateway_bills_the_requests_of_events_carousels_and_scripts() -> None:
    # 1.5 M with two events each, 0.9 M for carousels, 1.2 M for scripts: 3.6 M at $3.50 per million.
    assert bill().amount("API Gateway", "requests") == pytest.approx(12.60)


def test_api_gateway_is_cheaper_above_333_million_requests() -> None:
    # 500 M: 333 M at $3.50, and 167 M at $2.80.
    many = Workload("many", 1_000_000_000, 0, 0, 0, 0)
    assert bill(of=many).amount("API Gateway", "requests") == pytest.approx(333 * 3.5 + 167 * 2.8)


def test_lambda_bills_calls_and_memory_times_seconds() -> None:
    found = bill()
    # 1.5 M calls x 0.03 s x 1 GB are 45,000 GB-seconds.
    assert found.amount("Lambda", "collect: GB-seconds") == pytest.approx(45_000 * 0.0000166667)
    # 0.9 M x 0.06 s and 1.2 M x 0.005 s, in 1 GB: 60,000 GB-seconds.
    assert found.amount("Lambda", "api_handler: GB-seconds") == pytest.approx(60_000 * 0.0000166667)
    # 30 runs, 0.1 M events each: 80 + 30 x 0.1 = 83 s in 2 GB, 4,980 GB-seconds.
    assert found.amount("Lambda", "transform: GB-seconds") == pytest.approx(4_980 * 0.0000166667)


def test_firehose_rounds_each_record_up_to_five_kilobytes() -> None:
    # A record has two events of 600 bytes, and is billed as 5,120 bytes.
    found = bill().amount("Firehose", "events: ingestion")
    assert found == pytest.approx(1_500_000 * 5_120 / 1_073_741_824 * 0.029)
    # Nine events have 5,400 bytes, and are billed as 10,240.
    found = bill(events_per_request=9).amount("Firehose", "events: ingestion")
    assert found == pytest.approx(3_000_000 / 9 * 10_240 / 1_073_741_824 * 0.029)


def test_a_serverless_endpoint_bills_seconds_by_its_memory() -> None:
    # 0.9 M requests x 0.02 s are 18,000 s, at $0.00006 per second with 3 GB, and $0.00002 with 1 GB.
    assert bill().amount("SageMaker", "serverless endpoint") == pytest.approx(1.08)
    small = bill(changed(endpoint_memory_mb=1024))
    assert small.amount("SageMaker", "serverless endpoint") == pytest.approx(0.36)


def test_a_real_time_endpoint_bills_every_hour_and_more_instances_with_more_requests() -> None:
    realtime = changed(endpoint_kind="realtime")
    # One ml.c6i.large, 720 hours at $0.102, with and without requests.
    assert bill(realtime).amount("SageMaker", "real-time endpoint") == pytest.approx(73.44)
    assert bill(realtime, idle()).amount("SageMaker", "real-time endpoint") == pytest.approx(73.44)
    # 1.1 billion requests are 25,463 per minute: three instances of 12,000 each.
    busy = dataclasses.replace(SHOP, recommendations=1_100_000_000)
    assert bill(realtime, busy).amount("SageMaker", "real-time endpoint") == pytest.approx(3 * 73.44)


def test_snowflake_bills_the_steps_and_the_minute_until_the_warehouse_suspends() -> None:
    # 30 x (21 + 83 + 81 + 10 + 60) s = 7,650 s = 2.125 hours at $2.
    assert bill().amount("Snowflake", "warehouse of the pipeline") == pytest.approx(4.25)


def test_a_larger_warehouse_speeds_up_only_what_grows_with_the_rows() -> None:
    # MEDIUM has four credits. 30 x (20.25 + 80.75 + 80.25 + 10 + 60) = 7,537.5 s.
    found = bill(changed(warehouse_size="MEDIUM")).amount("Snowflake", "warehouse of the pipeline")
    assert found == pytest.approx(7_537.5 / 3600 * 4 * 2)


def test_loading_on_arrival_keeps_the_warehouse_awake() -> None:
    # A file per minute: each load and the minute after it fill the month, at one credit of $2 per hour.
    found = bill(changed(load_on_arrival=True))
    assert found.amount("Snowflake", "warehouse of the pipeline") == pytest.approx(720 * 2)
    assert any("warehouse_credits_per_month is 60, and 720 credits" in one for one in warnings(found))


def test_a_step_with_a_warehouse_of_its_own_pays_that_one_and_its_own_minute() -> None:
    # Transform on SMALL, two credits: 30 x (80 + 3/2 + 60) s = 1.179 hours at $4.
    own = bill(changed(transform_warehouse_size="SMALL"))
    assert own.amount("Snowflake", "warehouse of Transform") == pytest.approx(30 * 141.5 / 3600 * 2 * 2)
    # Load before it, Validate and Export after it: the pipeline's warehouse suspends twice. 30 x (21 + 60 + 91 + 60) s.
    assert own.amount("Snowflake", "warehouse of the pipeline") == pytest.approx(30 * 232 / 3600 * 2)
    # Both share the quota: 1.933 credits and 2.358.
    assert any(
        "and 4.29 credits" in one
        for one in warnings(
            bill(dataclasses.replace(STAGE, transform_warehouse_size="SMALL", warehouse_credits_per_month=4))
        )
    )


def test_snowpipe_bills_the_uncompressed_text_and_leaves_load_its_fixed_seconds() -> None:
    piped = bill(changed(load_by="snowpipe"))
    # 3 M events of 600 bytes are 1.676 GB, at 0.0037 credits of $2.
    assert piped.amount("Snowflake", "Snowpipe") == pytest.approx(1.8e9 / 1_073_741_824 * 0.0037 * 2)
    # 30 x (20 + 83 + 81 + 10 + 60) s.
    assert piped.amount("Snowflake", "warehouse of the pipeline") == pytest.approx(30 * 254 / 3600 * 2)
    assert bill().amount("Snowflake", "Snowpipe") == 0


def test_codebuild_bills_started_minutes_in_place_of_the_lambdas_seconds() -> None:
    built = bill(changed(runner="codebuild"), job_start_s=90)
    # Transform takes 90 + 83 s, three minutes; Export 90 + 10 s, two minutes; each at $0.005, 30 times.
    assert built.amount("CodeBuild", "Transform as a job") == pytest.approx(30 * 3 * 0.005)
    assert built.amount("CodeBuild", "Export as a job") == pytest.approx(30 * 2 * 0.005)
    assert built.amount("Lambda", "transform: GB-seconds") == 0
    assert built.amount("Lambda", "load: GB-seconds") == bill().amount("Lambda", "load: GB-seconds") > 0
    # Each of the three jobs is followed by a state that reads its result.
    assert built.amount("Step Functions", "state transitions") == pytest.approx(30 * 23 * 0.000025)
    # While a job starts, the warehouse suspends: 30 x (21 + 83 + 81 + 10 + 4 x 60) s.
    assert built.amount("Snowflake", "warehouse of the pipeline") == pytest.approx(30 * 435 / 3600 * 2)


def test_sagemaker_bills_the_seconds_and_the_volumes_of_the_steps_jobs() -> None:
    stage = changed(runner="sagemaker-processing", processing_instance_type="ml.m5.large")
    found = bill(stage, job_start_s=90)
    # 90 + 83 s of an ml.m5.large at $0.115 per hour.
    assert found.amount("SageMaker", "Transform as a job") == pytest.approx(30 * 173 / 3600 * 0.115)
    # 3 x 90 + 83 + 81 + 10 s with 30 GB at $0.14 per GB and month of 720 hours.
    assert found.amount("SageMaker", "volumes of the steps' jobs") == pytest.approx(
        30 * 444 / 3600 / 720 * 30 * 0.14
    )


def test_a_job_that_exceeds_its_time_is_named_and_a_job_never_exceeds_a_lambdas() -> None:
    slow = changed(runner="codebuild", job_timeout_minutes=20)
    found = warnings(bill(slow, transform_fixed_s=1500))
    assert any(
        "transform is predicted to take 1,593 s" in one and "job_timeout_minutes" in one for one in found
    )
    assert not any("its Lambda ends" in one for one in found)


def test_each_setting_of_runners_warehouses_and_loading_has_its_way_back_among_the_changes() -> None:
    stage = changed(runner="codebuild", transform_warehouse_size="LARGE")
    found = {one.setting for one in savings(bill(stage))}
    assert {'runner = "lambda"', 'transform_warehouse_size = "shared"'} <= found
    # Eight started minutes at $0.005 cost more than 444 s of an ml.m5.large at $0.115 per hour.
    built = bill(changed(runner="codebuild", processing_instance_type="ml.m5.large"))
    assert 'runner = "sagemaker-processing"' in {one.setting for one in savings(built)}
    # 1.8 GB through Snowpipe cost less than a credit, and loading on arrival fills the month.
    assert 'load_by = "snowpipe"' in {one.setting for one in savings(bill(changed(load_on_arrival=True)))}


def test_the_edition_decides_on_the_price_of_a_credit() -> None:
    enterprise = dataclasses.replace(PRICES, edition="enterprise")
    found = predict(STAGE, SHOP, ASSUMED, enterprise).amount("Snowflake", "warehouse of the pipeline")
    assert found == pytest.approx(2.125 * 3)


def test_training_bills_the_seconds_of_its_window_and_spot_a_part_of_them() -> None:
    # 60 days of 0.1 M events, half of them interactions: 3 M, so 200 + 300 = 500 s, 30 times, at $0.23 x 0.4.
    assert bill().amount("SageMaker", "training") == pytest.approx(30 * 500 / 3600 * 0.23 * 0.4)
    on_demand = bill(changed(use_spot=False)).amount("SageMaker", "training")
    assert on_demand == pytest.approx(30 * 500 / 3600 * 0.23)
    # Nothing is older than the first month.
    young = bill(month=1).amount("SageMaker", "training")
    assert young == pytest.approx(30 * 350 / 3600 * 0.23 * 0.4)


def test_small_raw_files_stay_in_standard_and_large_ones_move() -> None:
    # A file per minute: 3 M x 60 bytes in 43,200 files are 4 KB each, below 128 KB. 0.1 M x 60 bytes x 360 days.
    assert bill().amount("S3", "raw/ in Standard") == pytest.approx(6e6 * 360 / 1_073_741_824 * 0.023)
    assert bill().amount("S3", "raw/ in Standard-IA") == 0
    # 300 M events: 417 KB per file.
    large = bill(of=dataclasses.replace(SHOP, events=300_000_000))
    per_day_gb = 6e8 / 1_073_741_824
    assert large.amount("S3", "raw/ in Standard") == pytest.approx(per_day_gb * 90 * 0.023)
    assert large.amount("S3", "raw/ in Standard-IA") == pytest.approx(per_day_gb * 90 * 0.0125)
    assert large.amount("S3", "raw/ in Glacier Instant Retrieval") == pytest.approx(per_day_gb * 180 * 0.004)
    assert large.amount("S3", "raw/ transitions to Standard-IA") == pytest.approx(43_200 * 0.00001)


def test_expiring_raw_files_leave_a_week_of_old_versions() -> None:
    month = Month(changed(raw_expire_days=90), SHOP, ASSUMED, PRICES)
    assert sum(ages(month)) == 97


def test_x_ray_samples_the_first_request_of_each_second_and_five_percent_of_the_others() -> None:
    assert traces(1_000_000) == 1_000_000
    # A month has 2,592,000 seconds.
    assert traces(12_592_000) == 2_592_000 + 500_000
    # All 2.1 M calls of api_handler and 1.5 M of collect, and two per run, at $5 per million.
    assert bill().amount("X-Ray", "traces recorded") == pytest.approx(3_600_060 * 5e-6)
    assert bill(changed(tracing=False)).amount("X-Ray", "traces recorded") == 0


def test_logs_bill_their_bytes_once_and_their_storage_by_the_retention() -> None:
    found = bill()
    # 1.5 M + 2.1 M + 60 each of lock, publish and prove, 90 of canary + 7 x 30 calls, 1,000 bytes each.
    gigabytes = 3_600_480_000 / 1_073_741_824
    assert found.amount("CloudWatch", "logs: ingestion") == pytest.approx(gigabytes * 0.5)
    assert found.amount("CloudWatch", "logs: storage") == pytest.approx(gigabytes * 0.15 * 0.03)
    kept = bill(changed(log_retention_days=90)).amount("CloudWatch", "logs: storage")
    assert kept == pytest.approx(3 * gigabytes * 0.15 * 0.03)


def test_step_functions_bills_each_state() -> None:
    assert bill().amount("Step Functions", "state transitions") == pytest.approx(600 * 0.000025)


def test_an_alarm_on_an_expression_bills_each_of_its_metrics() -> None:
    # Thirteen alarms on one metric, three shares of two metrics, and one latency in milliseconds. One is on failed, timed out
    # and aborted runs and nights.
    assert alarm_metrics() == 13 + 3 * 2 + 1 + 6
    assert bill().amount("CloudWatch", "alarms") == pytest.approx(2.60)
    without = bill(changed(schedule_enabled=False, model_max_age_hours=0))
    assert without.amount("CloudWatch", "alarms") == pytest.approx(2.50)


def test_metrics_of_our_own_cost_the_same_whatever_callers_send() -> None:
    assert metrics_written() == 9 + 4
    assert bill().amount("CloudWatch", "metrics of our own") == pytest.approx(13 * 0.3)
    # Each reason of a refused event and of a fallback, and six metrics of both releases of a canary, in every hour.
    assert metrics_at_most() == 13 + len(Reason) + len(FallbackReason) + 2 * 6
    assert metrics_at_most() * 0.3 < 20


def test_a_canary_bills_its_metrics_and_a_real_time_candidate_while_it_runs() -> None:
    # 30 runs with two shares of half an hour, and eight minutes in which SageMaker changes endpoints: 34 hours.
    assert bill().amount("CloudWatch", "metrics of canaries") == pytest.approx(12 * 0.3 * 34 / 720)
    realtime = changed(endpoint_kind="realtime")
    candidates = "real-time endpoint of candidates"
    assert bill(realtime).amount("SageMaker", candidates) == pytest.approx(34 * 0.102)
    without = bill(dataclasses.replace(realtime, canary_seconds=0))
    assert without.amount("SageMaker", candidates) == pytest.approx(4 * 0.102)
    assert not [one for one in without.lines if one.item == "metrics of canaries"]


def test_an_idle_stage_pays_for_what_is_only_there() -> None:
    found = predict(STAGE, idle(), ASSUMED, PRICES)
    assert {(one.service, one.item) for one in found.lines} == {
        ("CloudWatch", "alarms"),
        ("CloudWatch", "dashboard"),
        ("Secrets Manager", "secrets"),
        ("ECR", "images of the endpoint"),
    }
    # 2.60 of alarms, 3.00 of the dashboard, four secrets of 0.40, five images of 0.1 GB at $0.10.
    assert found.usd == pytest.approx(2.60 + 3.00 + 1.60 + 0.05)


def test_the_operations_page_is_billed_per_rebuild_and_also_on_an_idle_stage() -> None:
    every_five = changed(operations_minutes=5)
    # 8,640 rebuilds, and one per run.
    for of, rebuilds in ((SHOP, 8_670), (idle(), 8_640)):
        found = bill(every_five, of, page_s=3, page_metrics=30, page_writes=5, page_reads=6)
        assert found.amount("CloudWatch", "metrics of the operations page") == pytest.approx(
            rebuilds * 30 * 1e-5
        )
        assert found.amount("S3", "writes and lists of the operations page") == pytest.approx(
            rebuilds * 5 * 5e-6
        )
        assert found.amount("S3", "reads of the operations page") == pytest.approx(rebuilds * 6 * 4e-7)
        assert found.amount("Lambda", "operations: GB-seconds") == pytest.approx(
            rebuilds * 3 * 0.5 * 1.66667e-5
        )


@pytest.mark.parametrize("name", ["local", "dev", "prod"])
@pytest.mark.parametrize("kind", ["serverless", "realtime"])
def test_more_events_never_cost_less(name: str, kind: Any) -> None:
    stage = dataclasses.replace(read_stage(name), region="us-east-1", endpoint_kind=kind)
    assumed = read_assumptions()
    columns = [idle(), *(workload("", 10.0**power, assumed) for power in range(3, 11))]
    totals = [predict(stage, column, assumed, PRICES).usd for column in columns]
    assert totals == sorted(totals)
    assert len(set(totals)) == len(totals)


def test_the_amounts_add_up_and_every_formula_has_its_numbers() -> None:
    found = bill()
    assert found.usd == pytest.approx(sum(one.usd for one in found.lines))
    for one in found.lines:
        assert any(character.isdigit() for character in one.formula), one
        assert " x $" in one.formula, one


def test_every_lambda_is_on_the_bill() -> None:
    month = Month(STAGE, SHOP, ASSUMED, PRICES)
    assert set(month.calls) == set(NAMES)
    # A person calls replay, and only a failed run calls rollback. Whatever else nobody calls would be free.
    free = {name for name in NAMES if not bill().amount("Lambda", f"{name}: GB-seconds")}
    assert free & (invoked_lambdas() | {"api_handler", "collect"}) == {"rollback"}
    assert "replay" in free


def test_a_lambda_of_unknown_duration_is_billed_with_its_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    new = dataclasses.replace(named("publish"), name="newcomer", timeout_s=120)
    monkeypatch.setattr("deploy.bill.month.LAMBDAS", (*LAMBDAS, new))
    monkeypatch.setattr("deploy.bill.month.invoked_lambdas", lambda: {"newcomer"})
    assert Month(STAGE, SHOP, ASSUMED, PRICES).calls["newcomer"] == Calls(30, 120)


def test_every_resource_of_the_stack_is_priced_or_named_as_free() -> None:
    types = {one["Type"] for one in resources().values()}
    assert types == PRICED.keys() | FREE.keys(), "add the new type to deploy/bill/coverage.py"
    assert not PRICED.keys() & FREE.keys()
    billed = {one.service for one in bill(changed(notification_email="a@example.com")).lines}
    for kind, services in PRICED.items():
        assert set(services) <= billed, f"no line of the bill is for {kind}"


def test_every_service_of_the_state_machine_is_priced_or_named_as_free() -> None:
    definition = json.loads(PIPELINE_FILE.read_text())
    called = {
        state["Resource"]
        for runner in ("lambda", "codebuild", "sagemaker-processing")
        for state in with_jobs(definition, changed(runner=runner), "123456789012")["States"].values()
        if state["Type"] == "Task"
    }
    called |= set(re.findall(r'"Resource": "(arn:aws:states:::[^"]+)"', NIGHT_FILE.read_text()))
    assert called == TASKS.keys() | FREE_TASKS.keys(), "add the new service to deploy/bill/coverage.py"
    billed = {one.service for one in bill(changed(notification_email="a@example.com")).lines}
    assert {service for services in TASKS.values() for service in services} <= billed


def test_the_states_of_a_published_run_are_counted_in_the_definition() -> None:
    states = json.loads(PIPELINE_FILE.read_text())["States"]
    stops = [
        "Prepare",
        "Load",
        "Export",
        "Train",
        "Evaluate",
        "Publish",
        "Prove",
        "Promote",
        "Record",
        "NotifySuccess",
    ]
    steps = sum(_distance(states, start, end) for start, end in pairwise(stops))
    # Each endpoint changes for about three minutes: twelve looks, 15 s apart, of three states each. One is on the way.
    looks = 2 * 11 * 3
    # Each of the two shares of a canary is a choice, a wait and one more call.
    assert 1 + steps + looks + 2 * 3 == read_assumptions().transitions_per_run


def _distance(states: dict[str, Any], start: str, end: str) -> int:
    seen, border, steps = {start}, {start}, 0
    while end not in border:
        border = {
            following
            for name in border
            for following in (
                states[name].get("Next"),
                states[name].get("Default"),
                *(choice["Next"] for choice in states[name].get("Choices", [])),
            )
            if following and following not in seen
        }
        assert border, f"no way from {start} to {end}"
        seen |= border
        steps += 1
    return steps


def test_a_change_saves_the_difference_of_two_bills() -> None:
    found = {one.setting: one.usd for one in savings(bill())}
    assert found["tracing = false"] == pytest.approx(bill().usd - bill(changed(tracing=False)).usd)
    assert list(found.values()) == sorted(found.values(), reverse=True)
    # A real-time endpoint costs $73.44 and saves $1.08.
    assert 'endpoint_kind = "realtime"' not in found
    # Spot is used already.
    assert "use_spot = true" not in found
    assert "use_spot = true" in {one.setting for one in savings(bill(changed(use_spot=False)))}


def test_a_serverless_endpoint_is_the_change_for_a_real_time_one_with_few_requests() -> None:
    best = savings(bill(changed(endpoint_kind="realtime")))[0]
    # The instance, the two alarms of its scaling, and 34 hours of candidates.
    assert best.setting == 'endpoint_kind = "serverless"'
    assert best.usd == pytest.approx(73.44 + 0.20 + 34 * 0.102 - 1.08)


def test_limits_that_the_month_exceeds_are_named_with_what_to_change() -> None:
    found = warnings(bill(changed(warehouse_credits_per_month=1)))
    # 2.125 credits, one of them allowed: 30 x 1 / 2.125 days.
    assert any("the warehouse stops about day 14 of the month" in one for one in found)
    slow = warnings(bill(transform_fixed_s=1000))
    assert any(
        "transform is predicted to take 1,003 s" in one and "ends after 900 s: set runner" in one
        for one in slow
    )
    busy = dataclasses.replace(SHOP, recommendations=3_000_000_000)
    assert any("recommend_requests_per_second is 500" in one for one in warnings(bill(of=busy)))


def test_the_budget_is_compared_with_what_aws_bills() -> None:
    found = bill()
    assert found.of_aws == pytest.approx(
        found.usd - sum(x.usd for x in found.lines if x.service == "Snowflake")
    )
    assert any("set monthly_budget_usd = " in one for one in warnings(found))
    assert any("monthly_budget_usd is 5" in one for one in warnings(bill(changed(monthly_budget_usd=5))))
    assert warnings(bill(changed(monthly_budget_usd=500))) == []


def test_the_shops_own_figures_replace_the_assumed_ratios() -> None:
    assumed = workload("", 1_000_000, ASSUMED)
    assert (assumed.sessions, assumed.items) == (200_000, ASSUMED.catalogue_items)
    own = workload("", 1_000_000, ASSUMED, {"sessions": 50_000, "items": 7})
    assert (own.sessions, own.items) == (50_000, 7)
    assert own.recommendations == 50_000 * ASSUMED.recommendations_per_session


def test_every_assumption_has_a_unit_and_a_source() -> None:
    names = {field.name for field in dataclasses.fields(ASSUMED)}
    assert names == set(json.loads(ASSUMPTIONS_FILE.read_text()))
    for name, source in sources().items():
        assert source.unit, name
        assert source.text, name


def test_an_unknown_assumption_is_refused_with_the_known_ones() -> None:
    with pytest.raises(AssumptionUnknown, match="events_per_request"):
        ASSUMED.with_values({"event_per_request": 3})
    with pytest.raises(AssumptionUnknown, match="at least 0"):
        ASSUMED.with_values({"month": -1})


def test_more_shops_cost_their_alarms_metrics_endpoints_and_jobs_and_no_more_events() -> None:
    shops = {f"shop{number}": [f"key-of-shop-{number}"] for number in range(3)}
    one, three = bill(changed(endpoint_kind="realtime")), bill(changed(endpoint_kind="realtime", shops=shops))
    # Five alarms per shop with seven metrics together, and two of scaling.
    assert three.amount("CloudWatch", "alarms") - one.amount("CloudWatch", "alarms") == pytest.approx(
        2 * 9 * 0.1
    )
    more = three.amount("CloudWatch", "metrics of our own") - one.amount("CloudWatch", "metrics of our own")
    assert more == pytest.approx(2 * 4 * 0.3)
    for item in ("real-time endpoint", "real-time endpoint of candidates"):
        assert three.amount("SageMaker", item) == pytest.approx(3 * one.amount("SageMaker", item))
    for item in ("training", "evaluation"):
        assert (
            one.amount("SageMaker", item)
            < three.amount("SageMaker", item)
            < 3 * one.amount("SageMaker", item)
        )
    assert three.amount("Firehose", "ingestion") == one.amount("Firehose", "ingestion")
