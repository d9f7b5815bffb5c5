"""Run app.py in this process, and put a seeded share of the requests in front of services in trouble.

Those requests use boto3's clients; the others use the fakes of the plain fuzz.
The services are servers on 127.0.0.1 (testing/lambda_services.py).
A service in trouble refuses, fails, hangs, drips, answers garbage, nonsense or half an answer, or starts slowly.
"""

import json
import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from unittest import mock
from urllib.parse import parse_qsl

from app import app
from benchmarks.fuzz_checks import Answered, Failed, Findings, Stored, compare, expected
from benchmarks.fuzz_in_process import Door, answer_of, api_variables, stored_of
from functions import wiring
from functions.platform import receipt_keys, time_box
from functions.platform.contract import RAW_PREFIX, RECOMMEND_K_DEFAULT, REJECTED_PREFIX
from functions.platform.events import delivery
from functions.recommend import fallback, recommend, served
from local.aws.proxy_event import Request, Response
from testing.lambda_services import (
    SERVICES,
    TROUBLES,
    client_variables,
    firehose_lines,
    lambda_services,
    parked_lines,
    start_cold,
)
from testing.troubled_service import Trouble, TroubledService

# Shorter boxes than a deployment's, for a quick run.
TIMEOUT_S, FIREHOSE_S, ENDPOINT_S = 0.3, 0.6, 0.3
LAMBDA_S = 10.0
KEYS_S = receipt_keys.TIMEOUT_MS / 1000
# The collector waits for Firehose once for accepted and once for refused events, and for receipt and secret keys.
COLLECT_BOX_S = 2 * FIREHOSE_S + 2 * KEYS_S
# /recommend waits for the record, the rules and the fallback, the endpoint, and the receipt keys.
RECOMMEND_BOX_S = 3 * recommend.STORED_S + ENDPOINT_S + KEYS_S
# A busy machine may take this much longer.
SLACK_S = 5.0

COLLECT = ("firehose", "s3", "secretsmanager")
RECOMMEND = ("sagemaker-runtime", "s3", "secretsmanager")
NEEDED = {
    "GET /pixel.gif": COLLECT,
    "POST /events": COLLECT,
    "GET /recommend": RECOMMEND,
    "POST /recommend": RECOMMEND,
}
NOTHING = Stored(0, ())
# With these, a service does its work, and the answer arrives.
HARMLESS = {Trouble.SLOW_START}


class Plan(NamedTuple):
    """The troubles of a request by service, and whether it meets a new execution environment."""

    troubles: dict[str, Trouble]
    cold: bool

    def away(self, *services: str) -> bool:
        """Return True if none of the services works."""
        return all(self.troubles.get(name, Trouble.SLOW_START) not in HARMLESS for name in services)

    def __str__(self) -> str:
        troubles = ", ".join(f"{name} {trouble}" for name, trouble in sorted(self.troubles.items()))
        return f"{troubles} ({'cold' if self.cold else 'warm'})"


def plan_of(seed: int, endpoint: str, number: int, share: float) -> Plan:
    """Return the plan of a request. It depends only on the arguments, as the request itself."""
    dice = random.Random(f"{seed} {endpoint} {number} trouble")
    if dice.random() >= share:
        return Plan({}, cold=False)
    needed = NEEDED.get(endpoint, SERVICES)
    services = dice.sample(needed, dice.choice([1, 1, 1, 2, len(needed)]))
    return Plan({name: dice.choice(TROUBLES) for name in services}, cold=dice.random() < 0.5)


class Clock:
    """The context of a Lambda whose time runs."""

    def __init__(self) -> None:
        self._ends_s = time.monotonic() + LAMBDA_S

    def get_remaining_time_in_millis(self) -> int:
        """Return the time that is left."""
        return int(1000 * (self._ends_s - time.monotonic()))


class TroubledDoor:
    """The collector and the recommender of the local stage, with services in trouble for a share of the requests."""

    def __init__(self, services: dict[str, TroubledService], seed: int, share: float) -> None:
        self._services, self._seed, self._share = services, seed, share
        self._variables = api_variables()
        self._untroubled = Door()

    def check(self, endpoint: str, number: int, request: Request, findings: Findings) -> None:
        """Answer a request and add it to the findings.

        Raises:
            Failed: the response, its time, or the stored events break a rule.
        """
        plan = plan_of(self._seed, endpoint, number, self._share)
        if not plan.troubles:
            self._untroubled.check(endpoint, number, request, findings)
            return
        start_cold()
        if not plan.cold:
            self.warm_up()
        answered, took_s = self._answer(request, plan)
        findings.took(str(plan), took_s)
        may_refuse = _may_refuse(endpoint, plan) or _needs_secret_keys(request, plan)
        try:
            promised = expected(endpoint, answered.response, may_refuse)
            _in_time(endpoint, plan, took_s)
            if endpoint.endswith("/recommend") and answered.response.status == 200:
                _all_items(request, answered.response)
            found = self._stored(answered.request_id, took_s)
            # A service that drips may still take what the client is asked to send again.
            if not (may_refuse and promised == NOTHING):
                compare(promised, found)
        except Failed as failed:
            raise Failed(f"{plan}, {took_s:.1f} s: {failed}") from None
        findings.add(answered.response, promised)

    def warm_up(self) -> None:
        """Let the environment read everything, and read it again with the next request."""
        question = Request("GET", "/recommend", "items=i1&k=1&shop=demo&session=s1", [], b"", "203.0.113.9")
        with (
            mock.patch.object(fallback, "REFRESH_S", 0.0),
            mock.patch.object(served, "REFRESH_S", 0.0),
            mock.patch.object(receipt_keys, "REFRESH_S", 0.0),
        ):
            answer_of(app, question, Clock())
        _drain()

    def _answer(self, request: Request, plan: Plan) -> tuple[Answered, float]:
        """Return the response during the troubles, and its time. None of its calls meets the next request."""
        for name, service in self._services.items():
            service.served.clear()
            service.trouble = plan.troubles.get(name, Trouble.NONE)
        began_s = time.monotonic()
        try:
            return answer_of(app, request, Clock()), time.monotonic() - began_s
        finally:
            for service in self._services.values():
                service.release()
            _drain()
            for service in self._services.values():
                service.recover()
            start_cold()

    def _stored(self, request_id: str, took_s: float) -> Stored:
        """Return the stored part of the request.

        Raises:
            Failed: a line belongs to another request, or is stored twice.
        """
        by_stream, by_prefix = firehose_lines(self._services["firehose"]), parked_lines(self._services["s3"])
        lines: list[list[dict[str, Any]]] = []
        for stream, prefix in (
            ("TUGBOAT_EVENTS_STREAM", RAW_PREFIX),
            ("TUGBOAT_REJECTED_STREAM", REJECTED_PREFIX),
        ):
            taken = Counter(by_stream.get(self._variables[stream], []))
            parked = Counter(by_prefix.get(prefix, []))
            # A Firehose that took a record too late leaves a copy: docs/decisions/0048-deadlines.md.
            both = taken & parked
            if both and took_s < TIMEOUT_S:
                raise Failed(f"{both.total()} lines are stored in Firehose and in S3")
            lines.append([json.loads(line) for line in ((taken + parked) - both).elements()])
        accepted, refused = lines
        return stored_of(accepted, refused, request_id)


@contextmanager
def troubled_door(seed: int, share: float) -> Iterator[TroubledDoor]:
    """Serve the services until the end of the block."""
    with (
        lambda_services() as services,
        mock.patch.dict(os.environ, {**api_variables(), **client_variables(services)}),
        mock.patch.dict(os.environ, TUGBOAT_ENDPOINT_TIMEOUT_MS=str(int(ENDPOINT_S * 1000))),
        mock.patch.object(wiring, "FIREHOSE_TIMEOUT_MS", int(TIMEOUT_S * 1000)),
        mock.patch.object(wiring, "S3_TIMEOUT_MS", int(TIMEOUT_S * 1000)),
        mock.patch.object(delivery, "FIREHOSE_S", FIREHOSE_S),
    ):
        door = TroubledDoor(services, seed, share)
        door.warm_up()  # the first import of the SDK takes seconds on a busy machine
        start_cold()
        yield door


def _may_refuse(endpoint: str, plan: Plan) -> bool:
    """Return True if the endpoint may answer that it is unavailable, because all that could help is away."""
    if endpoint.endswith("/recommend"):
        return plan.cold and plan.away("sagemaker-runtime", "s3")
    return plan.away("firehose", "s3")


def _needs_secret_keys(request: Request, plan: Plan) -> bool:
    """Return True if the sender of events wants to be trusted, and the keys cannot be read."""
    return request.header("Authorization") is not None and plan.away("secretsmanager")


def _in_time(endpoint: str, plan: Plan, took_s: float) -> None:
    box_s = RECOMMEND_BOX_S if endpoint.endswith("/recommend") else COLLECT_BOX_S
    if plan.away("firehose", "s3"):
        box_s = LAMBDA_S  # S3 is the last resort, so it has all the time that is left
    if took_s > box_s + SLACK_S:
        raise Failed(f"longer than {box_s} s")


def _all_items(request: Request, response: Response) -> None:
    """Raise Failed if there are fewer items than the request wants."""
    if request.method == "GET":
        wanted = dict(parse_qsl(request.query, keep_blank_values=True)).get("k", RECOMMEND_K_DEFAULT)
    else:
        body = request.body.decode("utf-8", "replace").encode()  # as API Gateway passes it
        wanted = json.loads(body or b"{}").get("k", RECOMMEND_K_DEFAULT)
    items = json.loads(response.body)["items"]
    if len(items) != int(wanted):
        raise Failed(f"{len(items)} items, the request wants {wanted}")


def _drain() -> None:
    """Wait for the calls that run in threads. Later calls get new threads."""
    time_box.executor().shutdown(wait=True)
    time_box.executor.cache_clear()
