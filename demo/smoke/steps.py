"""The steps of the smoke test. Each acts on the stage and returns its row, or raises StepFailed."""

import json
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from demo import follow
from demo.environment import Environment
from demo.generator import History
from demo.http import Http, RequestFailed
from demo.landed import LandingWatch
from demo.replay import Replayed, send
from demo.secret_keys import temporary_secret_keys
from demo.smoke import marker
from demo.smoke.result import Outcome, Row, StepFailed
from demo.source import generated
from demo.split import Split
from deploy.bill import step_costs as costs
from deploy.bill.assumptions import read_assumptions
from deploy.bill.prices import PriceList
from deploy.rollback import PATIENT, rollback
from deploy.stages import Stage
from functions.platform import warehouse
from functions.platform.contract import RAW_PREFIX
from functions.platform.releases import Release, read_record, served_shops
from functions.platform.run_history import Execution, State, folded
from imports.rejects import Rejects

# Enough for a model that answers sessions, little enough for minutes. The gate may refuse such a model, and is overridden.
HISTORY_EVENTS, HISTORY_DAYS, SEED = 12_000, 10, 7
OVERRIDE_REASON = "smoke test: the events are generated and few"
CAROUSELS, K = 40, 10
LANDING_TIMEOUT_S = 900.0
# A serverless endpoint starts within a minute, and /recommend follows a changed release within a minute.
SERVED_TIMEOUT_S = 180.0
POLL_S = 2.0


@dataclass
class Smoke:
    """The stage under test, and what earlier steps leave for later ones."""

    where: Environment
    stage: Stage
    account_id: str
    shop_id: str
    http: Http
    hyperparameters: dict[str, str]
    prices: PriceList
    sent: Replayed = field(default_factory=Replayed)
    landing: LandingWatch | None = None
    sessions: list[list[str]] = field(default_factory=list)
    releases: list[Release] = field(default_factory=list)
    recommendation_id: str = ""

    def release(self) -> Release | None:
        """Return the release of the shop on record."""
        bucket = self.stage.models_bucket(self.account_id)
        return read_record(self.where.client("s3"), bucket, self.shop_id).current


def require_replaceable(smoke: Smoke) -> None:
    """Check that the served model, if there is one, is an earlier smoke test's.

    Raises:
        StepFailed: shoppers are served by a model of their own. Two runs would push it out of the record.
    """
    current = smoke.release()
    if current is not None and not marker.is_ours(
        smoke.stage, smoke.account_id, current, smoke.where.client("s3")
    ):
        raise StepFailed(
            f"stage {smoke.stage.name} serves shop {smoke.shop_id} model {current.model_version}, which is not a smoke test's. "
            "Run the smoke test on a stage of its own: add one to deploy/stages.toml, deploy it, then "
            "make smoke STAGE=<its name>"
        )


def require_empty(smoke: Smoke) -> None:
    """Check that the stage has no events and no model, so that cleaning up deletes nobody's data.

    Raises:
        StepFailed: the stage holds data.
    """
    found = smoke.where.client("s3").list_objects_v2(
        Bucket=smoke.where.events_bucket(), Prefix=RAW_PREFIX, MaxKeys=1
    )
    bucket = smoke.stage.models_bucket(smoke.account_id)
    if found.get("KeyCount") or served_shops(smoke.where.client("s3"), bucket):
        raise StepFailed(
            f"stage {smoke.stage.name} already holds events or a model, which --clean would delete. Leave --clean out, "
            f"or delete them first: make destroy STAGE={smoke.stage.name} ARGS=--delete-data, then deploy again"
        )


def send_events(smoke: Smoke) -> Row:
    """Send a generated history of the shop through POST /events."""
    history = History(events=HISTORY_EVENTS, days=HISTORY_DAYS, seed=SEED, shop_id=smoke.shop_id)
    dataset = generated(history)
    split = Split(dataset, None)
    with _timed() as clock, Rejects() as rejects, temporary_secret_keys(smoke.where) as secret_key_of:
        smoke.landing = LandingWatch(smoke.where.client("s3"), smoke.where.events_bucket())
        smoke.sent = send(
            split.training_events(rejects),
            smoke.where.api_url,
            smoke.where.shop_keys,
            secret_key_of=secret_key_of,
            user_agent_of=dataset.user_agent_of,
            expected=HISTORY_EVENTS,
        )
    smoke.sessions = [session for session in split.training_sessions() if len(session) > 2]
    if smoke.sent.refused or not smoke.sent.accepted:
        raise StepFailed(f"{smoke.sent.summary()}\nThe contract is in docs/events.md")
    each_s = smoke.sent.seconds / smoke.sent.batches
    cost = costs.of_requests(smoke.stage, smoke.prices, smoke.sent.batches, each_s)
    return Row("Send events", "passed", clock(), f"{smoke.sent.accepted:,} events accepted", cost)


def wait_for_landing(smoke: Smoke) -> Row:
    """Wait until Firehose has put every accepted event into S3."""
    assert smoke.landing is not None, "events are sent first"
    with _timed() as clock:
        landed = smoke.landing.wait_for(smoke.sent.accepted, LANDING_TIMEOUT_S)
    if landed < smoke.sent.accepted:
        raise StepFailed(
            f"{smoke.sent.accepted:,} events were accepted, and {landed:,} are in S3 after {LANDING_TIMEOUT_S:.0f} s. "
            f"Look at the stream {smoke.stage.prefix}-events and its log group"
        )
    cost = costs.of_delivery(smoke.prices, smoke.sent.batches, landed * read_assumptions().line_bytes)
    return Row("Events in S3", "passed", clock(), f"{landed:,} events", cost)


def run(smoke: Smoke, name: str) -> Row:
    """Run the state machine: load, transform, validate, export, train, evaluate, publish, prove."""
    wanted: dict[str, Any] = {"shop_id": smoke.shop_id, "override_reason": OVERRIDE_REASON}
    if smoke.hyperparameters:
        wanted["hyperparameters"] = smoke.hyperparameters
    client = smoke.where.client("stepfunctions")
    with _timed() as clock:
        arn = follow.start(client, smoke.where.state_machine_arn(), wanted)
        story = follow.follow(client, arn, sys.stdout)
    row = Row(name, "failed", clock(), "", inner=list(_states(smoke, story)))
    release = smoke.release()
    if story.status != "SUCCEEDED" or release is None:
        raise StepFailed(follow.explain(story, arn, smoke.where, smoke.shop_id))
    if smoke.releases and release.model_version == smoke.releases[-1].model_version:
        raise StepFailed(f"execution {arn} succeeded, and model {release.model_version} is still on record")
    smoke.releases.append(release)
    marker.add(smoke.stage, smoke.account_id, release, smoke.where.client("s3"))
    row.outcome, row.found = "passed", f"model {release.model_version} on endpoint {release.endpoint}"
    return row


def _states(smoke: Smoke, story: Execution) -> Iterator[Row]:
    """Yield a row for each task of an execution."""
    for state in folded(story.states):
        if state.kind != "Task":
            continue
        seconds = state.seconds(datetime.now(UTC))
        outcome: Outcome = "passed" if state.status == "done" else "failed"
        found = ", ".join(f"{key}={value}" for key, value in state.figures.items())
        yield Row(state.name, outcome, seconds, found, _cost_of(smoke, state, seconds))


def _cost_of(smoke: Smoke, state: State, seconds: float) -> costs.Cost | None:
    if state.name in costs.STEP_STATES:
        return costs.of_step(smoke.stage, smoke.prices, state.name, seconds)
    if state.name == "Train":
        return costs.of_job(smoke.prices, smoke.stage.training_instance_type, seconds)
    return (
        costs.of_job(smoke.prices, smoke.stage.processing_instance_type, seconds)
        if state.name == "Evaluate"
        else None
    )


def recommend(smoke: Smoke) -> Row:
    """Ask for carousels of real sessions. Every one must come from the model, with as many items as asked."""
    sessions = smoke.sessions[-CAROUSELS:]
    with _timed() as clock:
        _wait_for_model(smoke, smoke.releases[-1].model_version)
        answers = [_ask(smoke, session) for session in sessions]
    latencies_ms = sorted(milliseconds for _, milliseconds in answers)
    for session, (answer, _) in zip(sessions, answers, strict=True):
        items = [item["item_id"] for item in answer["items"]]
        if answer["source"] != "model":
            raise StepFailed(f"/recommend answered from {answer['source']} because {answer['reason']}")
        if len(set(items)) != K or session[-1] in items:
            raise StepFailed(f"/recommend answered {session} with {items}: {K} other items were expected")
    p50_ms, p99_ms = latencies_ms[len(latencies_ms) // 2], latencies_ms[-1]
    found = f"{len(answers)} carousels from the model; {p50_ms:.0f} ms at the median, {p99_ms:.0f} ms at most"
    cost = costs.of_requests(smoke.stage, smoke.prices, len(answers), p50_ms / 1000, served=True)
    return Row("Recommend", "passed", clock(), found, cost)


def click_and_buy(smoke: Smoke) -> Row:
    """Let a shopper see a carousel, click its first item and buy it, each with the carousel's receipt."""
    shopper = f"smoke-{uuid.uuid4().hex[:12]}"
    with _timed() as clock:
        answer, _ = _ask(smoke, smoke.sessions[-1], session=shopper)
        if "receipt" not in answer:
            raise StepFailed(
                f"/recommend answered without a receipt: look at the secret {smoke.stage.receipts_secret}"
            )
        smoke.recommendation_id = answer["request_id"]
        watch = LandingWatch(smoke.where.client("s3"), smoke.where.events_bucket())
        sent = send(
            _shopping(smoke.shop_id, shopper, answer),
            smoke.where.api_url,
            smoke.where.shop_keys,
            http=smoke.http,
        )
        landed = watch.wait_for(sent.accepted, LANDING_TIMEOUT_S)
    if sent.refused or landed < sent.accepted:
        raise StepFailed(f"{sent.summary()}; {landed} of them are in S3")
    cost = costs.of_requests(smoke.stage, smoke.prices, 1 + sent.batches, sent.seconds, served=True)
    return Row("Click and buy", "passed", clock(), f"{sent.accepted} events with a receipt", cost)


def _shopping(shop_id: str, shopper: str, answer: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the events of a shopper who sees a carousel, clicks its first item and buys it."""
    now_ms = int(time.time() * 1000)
    shown = [{"item_id": item["item_id"]} for item in answer["items"]]
    bought = {**shown[0], "price": 20.0, "quantity": 1, "receipt": answer["receipt"]}
    of_carousel = {"recommendation_id": answer["request_id"], "receipt": answer["receipt"]}
    of_order = {"transaction_id": shopper, "value": 20.0, "currency": "USD"}
    steps: list[tuple[str, dict[str, Any]]] = [
        ("recommendation_impression", {"items": shown[:3], **of_carousel}),
        ("recommendation_click", {"items": shown[:1], **of_carousel}),
        ("view_item", {"items": shown[:1]}),
        ("add_to_cart", {"items": [bought]}),
        ("purchase", {"items": [bought], **of_order}),
    ]
    return [
        {
            "schema_version": 1,
            "event_id": str(uuid.uuid4()),
            "event_name": name,
            "shop_id": shop_id,
            "client_id": shopper,
            "session_id": shopper,
            "client_time_ms": now_ms + place,
            **fields,
        }
        for place, (name, fields) in enumerate(steps)
    ]


def attribute(smoke: Smoke) -> Row:
    """Find the click and the order in the mart that counts what recommendations led to."""
    query = """
        select items_shown, items_clicked, items_bought, revenue from MARTS.RECOMMENDATIONS
        where recommendation_id = %s
    """
    login = warehouse.read_credentials(smoke.where.client("secretsmanager"), smoke.stage.secret_name)
    with _timed() as clock, warehouse.connect(login) as connection:
        rows = warehouse.rows(connection, query, (smoke.recommendation_id,))
    counted = [tuple(float(value) for value in row) for row in rows]
    if counted != [(3.0, 1.0, 1.0, 20.0)]:
        raise StepFailed(
            f"MARTS.RECOMMENDATIONS has {counted} for {smoke.recommendation_id}; expected are 3 items shown, "
            "1 clicked, 1 bought for 20. Look at STAGING.STG_RECEIPTS and MARTS.DAILY_RECOMMENDATIONS"
        )
    return Row("Attribution", "passed", clock(), "3 items shown, 1 clicked, 1 bought for 20.00")


def roll_back(smoke: Smoke) -> Row:
    """Return to the first run's model, ask for a carousel, then return to the second run's."""
    first, second = smoke.releases[-2:]
    with _timed() as clock:
        for release in (first, second):
            rollback(
                smoke.stage,
                smoke.shop_id,
                smoke.where.client("lambda", PATIENT),
                smoke.where.client("sagemaker"),
                smoke.where.client("s3"),
                smoke.account_id,
            )
            _wait_for_model(smoke, release.model_version)
    found = f"model {first.model_version} served again, then {second.model_version}"
    return Row(
        "Roll back",
        "passed",
        clock(),
        found,
        costs.of_step(smoke.stage, smoke.prices, "Rollback", clock()),
    )


def _ask(smoke: Smoke, items: list[str], **fields: str) -> tuple[dict[str, Any], float]:
    """Ask for a carousel; return the answer and its milliseconds."""
    body = json.dumps({"items": items, "k": K, "shop": smoke.shop_id, **fields}).encode()
    answer = smoke.http.post(f"{smoke.where.api_url}/recommend", body, {})
    return answer.body, answer.milliseconds


def _wait_for_model(smoke: Smoke, model_version: str) -> None:
    """Wait until /recommend answers from this model.

    Raises:
        StepFailed: it does not within SERVED_TIMEOUT_S.
    """
    ends_s = time.monotonic() + SERVED_TIMEOUT_S
    while True:
        try:
            answer, _ = _ask(smoke, smoke.sessions[-1])
            seen = f"model {answer['model_version']} from {answer['source']} because {answer['reason']}"
            if (answer["source"], answer["model_version"]) == ("model", model_version):
                return
        except RequestFailed as failed:
            seen = str(failed)
        if time.monotonic() > ends_s:
            raise StepFailed(
                f"/recommend does not answer from model {model_version} after {SERVED_TIMEOUT_S:.0f} s; last: {seen}. "
                f"Look at the log groups of the endpoint and of {smoke.stage.prefix}"
            )
        time.sleep(POLL_S)


@contextmanager
def _timed() -> Iterator[Any]:
    """Yield a clock: it returns the seconds since the block began, and stands still when the block has ended."""
    began = time.monotonic()
    ended: list[float] = []
    try:
        yield lambda: (ended[0] if ended else time.monotonic()) - began
    finally:
        ended.append(time.monotonic())
