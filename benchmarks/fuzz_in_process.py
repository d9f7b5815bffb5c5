"""Run app.py behind API Gateway's translation of requests and responses, in this process, with fake services."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from chalice.app import Chalice

from benchmarks.fuzz_checks import Answered, Failed, Findings, Stored, compare, expected
from benchmarks.fuzz_requests import SECRET_KEY
from deploy.stages import read_stage
from functions.platform import receipt_keys, secret_keys
from functions.platform.contract import FALLBACK_KEY
from local.aws.proxy_event import MalformedProxyResponse, Request, build_event, build_response
from testing.api import Context
from testing.fakes import FakeEndpoint, FakeFirehose, FakeS3, FakeSecrets, client_error

REPOSITORY = Path(__file__).resolve().parents[1]
FALLBACK = {"popular": [f"p{n}" for n in range(200)], "related": {"i1": ["r1", "r2"]}, "model_version": "m1"}


def api_variables() -> dict[str, str]:
    """Return the environment variables of the local stage's API."""
    config = json.loads((REPOSITORY / ".chalice" / "config.json").read_text())["stages"]["local"]
    own: dict[str, str] = config["lambda_functions"]["api_handler"]["environment_variables"]
    return {**config["environment_variables"], **own}


def answer_of(app: Chalice, request: Request, context: Any) -> Answered:
    """Return API Gateway's response to a request.

    Raises:
        Failed: API Gateway would not accept the Lambda's result.
    """
    event = build_event(
        request,
        api_id="fuzz",
        stage="api",
        resource=request.path,
        path=request.path,
        path_parameters={},
        binary_types=app.api.binary_types,
        trace="Root=1-5e272390-8c398be037738dc042009320",
    )
    event = json.loads(json.dumps(event))
    answer = app(event, context)
    try:
        response = build_response(json.dumps(answer).encode(), request.header("Accept"), app.api.binary_types)
    except (MalformedProxyResponse, ValueError, TypeError) as error:
        raise Failed(f"502: {error}") from None
    return Answered(response, event["requestContext"]["requestId"])


def stored_of(accepted: list[dict[str, Any]], refused: list[dict[str, Any]], request_id: str) -> Stored:
    """Return the stored part of a request.

    Raises:
        Failed: a line belongs to another request, or a refusal lacks its payload.
    """
    ids = {line["server"]["request_id"] for line in accepted} | {line["request_id"] for line in refused}
    if not ids <= {request_id}:
        raise Failed(f"lines of other requests: {ids - {request_id}}")
    if not all(isinstance(line["payload"], str) for line in refused):
        raise Failed("a refusal without its payload")
    return Stored(len(accepted), tuple(sorted(line["reason"] for line in refused)))


def _secret_keys() -> str:
    """Return the secret with the key of the fuzz, which is the local stage's first shop's."""
    shop = next(iter(read_stage("local").shops))
    return json.dumps({shop: [{"sha256": secret_keys.digest(SECRET_KEY), "issued_on": "2026-11-29"}]})


class Door:
    """The collector and the recommender of the local stage."""

    def __init__(self) -> None:
        self._variables = api_variables()
        self._firehose, self.s3 = FakeFirehose(), FakeS3()
        self.s3.objects[self._variables["TUGBOAT_MODELS_BUCKET"], FALLBACK_KEY] = json.dumps(
            FALLBACK
        ).encode()
        self._endpoint = FakeEndpoint(self._recommend)
        self._secrets, self._secret_keys = FakeSecrets(), FakeSecrets(_secret_keys())
        with self._in_place():
            import app

            self._app = app.app

    def check(self, endpoint: str, number: int, request: Request, findings: Findings) -> None:
        """Answer a request and add it to the findings.

        Raises:
            Failed: the response or the stored events break a rule.
        """
        answered = self.ask(request)
        promised = expected(endpoint, answered.response)
        compare(promised, self.take_stored(answered.request_id))
        findings.add(answered.response, promised)

    def ask(self, request: Request) -> Answered:
        """Return the response to a request.

        Raises:
            Failed: API Gateway would not accept the Lambda's result.
        """
        with self._in_place():
            answered = answer_of(self._app, request, Context())
        self._endpoint.questions.clear()
        return answered

    def take_stored(self, request_id: str) -> Stored:
        """Remove and return the last request's records in the streams."""
        accepted = self._firehose.lines(self._variables["TUGBOAT_EVENTS_STREAM"])
        refused = self._firehose.lines(self._variables["TUGBOAT_REJECTED_STREAM"])
        self._firehose.streams.clear()
        return stored_of(accepted, refused, request_id)

    @contextmanager
    def _in_place(self) -> Iterator[None]:
        from functions import wiring

        with (
            mock.patch.dict(os.environ, self._variables),
            mock.patch.object(wiring, "time_boxed_client", self._client),
            mock.patch.object(receipt_keys, "time_boxed_client", mock.Mock(return_value=self._secrets)),
            mock.patch.object(secret_keys, "time_boxed_client", mock.Mock(return_value=self._secret_keys)),
        ):
            yield

    def _client(self, service: str, _: int) -> Any:
        return {"firehose": self._firehose, "s3": self.s3, "sagemaker-runtime": self._endpoint}[service]

    @staticmethod
    def _recommend(question: dict[str, Any]) -> dict[str, Any]:
        if len(question["items"]) % 3 == 2:
            raise client_error("ModelError")
        return {"items": [{"item_id": "m1", "score": 1.0}], "reason": "as asked", "model_version": "m1"}
