"""A part of the fuzz in every run of the tests, and proof that it finds defects."""

import json
from typing import Any

import pytest

from benchmarks.fuzz import IN_PROCESS, fuzz_in_process
from benchmarks.fuzz_catalogue import CatalogueDoor
from benchmarks.fuzz_checks import STATUSES, Failed, Findings, Stored, compare, expected
from benchmarks.fuzz_in_process import Door
from benchmarks.fuzz_requests import CATALOGUE, Maker
from functions.collect.routes import GIF
from functions.platform.catalogue_editor import CatalogueEditor
from functions.platform.catalogue_state import state_key
from functions.platform.settings import CatalogueSettings
from local.aws.proxy_event import Response
from testing.fakes import FakeS3

SLICE = 600


@pytest.fixture(scope="module")
def door() -> Door:
    return Door()


@pytest.mark.parametrize("endpoint", IN_PROCESS)
def test_odd_requests_are_answered_and_all_is_stored_that_the_answers_say(door: Door, endpoint: str) -> None:
    findings = Findings()
    fuzz_in_process(door, Maker(endpoint, seed=7), 0, SLICE, findings)
    assert findings.examples == []
    assert findings.statuses.total() == SLICE
    # The requests are neither all valid nor all invalid.
    if endpoint in ("POST /events", "GET /pixel.gif"):
        assert findings.accepted > SLICE / 5
        assert len(findings.reasons) >= 5
    else:
        assert len(findings.statuses) >= 2


def test_odd_changes_of_products_are_answered_and_what_is_accepted_can_be_folded(door: Door) -> None:
    findings = Findings()
    fuzz_in_process(CatalogueDoor(door), Maker(CATALOGUE, seed=7), 0, SLICE, findings)
    assert findings.examples == []
    assert findings.statuses.total() == SLICE
    assert findings.accepted > SLICE / 5
    assert len(findings.reasons) >= 5


@pytest.mark.parametrize("defect", ["unreadable", "incomplete"])
def test_a_file_of_changes_that_cannot_be_folded_is_a_failure(
    door: Door, monkeypatch: pytest.MonkeyPatch, defect: str
) -> None:
    def broken(event: dict[str, str], settings: CatalogueSettings, s3: FakeS3) -> None:
        if defect == "unreadable":
            raise ValueError(event["key"])
        s3.put_object(
            Bucket=settings.models_bucket, Key=state_key("demo"), Body=CatalogueEditor().packed(1, [])
        )

    monkeypatch.setattr("benchmarks.fuzz_catalogue.catalogue", broken)
    findings = Findings()
    fuzz_in_process(CatalogueDoor(door), Maker(CATALOGUE, seed=7), 0, 20, findings)
    assert findings.failures > 5
    assert ("cannot be folded" if defect == "unreadable" else "the state has []") in findings.examples[0][
        "why"
    ]
    assert not [key for _, key in door.s3.objects if key.startswith("catalogue/")]


@pytest.mark.parametrize("endpoint", [*IN_PROCESS, CATALOGUE])
def test_a_request_can_be_made_again_by_its_number(endpoint: str) -> None:
    def made(seed: int, number: int) -> tuple[Any, ...]:
        request = Maker(endpoint, seed).request(number)
        return request.method, request.path, request.headers, len(request.query), len(request.body)

    assert made(1, 5) == made(1, 5)
    assert len({str(made(1, number)) for number in range(30)}) > 10


@pytest.mark.parametrize("endpoint", STATUSES)
@pytest.mark.parametrize("status", [415, 500, 502, 503])
def test_a_server_s_error_is_a_failure_on_every_endpoint(endpoint: str, status: int) -> None:
    with pytest.raises(Failed, match=str(status)):
        expected(endpoint, Response(status, b"{}", [("Content-Type", "application/json")]))


@pytest.mark.parametrize(
    ("endpoint", "headers", "body"),
    [
        ("GET /pixel.gif", {"Content-Type": "image/gif"}, b"{}"),
        ("POST /events", {"Access-Control-Allow-Origin": "*"}, b'{"accepted": 1'),
        ("POST /events", {"Access-Control-Allow-Origin": "*"}, b'{"accepted": 1, "refused": [NaN]}'),
        ("POST /events", {}, b'{"accepted": 1, "refused": []}'),
        ("GET /recommend", {"Access-Control-Allow-Origin": "*"}, b'{"items": []}'),
        ("GET /tugboat.js", {"Content-Type": "text/html"}, b""),
        ("OPTIONS /events", {}, b""),
    ],
)
def test_an_answer_that_its_caller_could_not_use_is_a_failure(
    endpoint: str, headers: dict[str, str], body: bytes
) -> None:
    with pytest.raises(Failed):
        expected(endpoint, Response(200, body, list(headers.items())))


@pytest.mark.parametrize("reason", ["storage_unavailable", "model_unavailable"])
def test_unavailable_with_retry_after_is_right_only_where_nothing_could_help(reason: str) -> None:
    body = json.dumps({"error": {"reason": reason, "message": "later"}}).encode()
    headers = [("Access-Control-Allow-Origin", "*"), ("Retry-After", "5")]
    assert expected("POST /events", Response(503, body, headers), True) == Stored(0, ())
    with pytest.raises(Failed, match="503"):
        expected("POST /events", Response(503, body, headers))
    with pytest.raises(Failed, match="Retry-After"):
        expected("POST /events", Response(503, body, headers[:1]), True)
    other = body.replace(reason.encode(), b"no_model_yet")
    with pytest.raises(Failed, match="no_model_yet"):
        expected("POST /events", Response(503, other, headers), True)


def test_a_pixel_whose_event_is_not_stored_is_right_only_where_nothing_could_store_it() -> None:
    headers = [("Content-Type", "image/gif"), ("X-Tugboat-Refused", "storage_unavailable")]
    response = Response(200, GIF.encode(), headers)
    assert expected("GET /pixel.gif", response, True) == Stored(0, ())
    with pytest.raises(Failed, match="not stored"):
        expected("GET /pixel.gif", response)


def test_a_lost_refusal_and_an_event_stored_twice_are_failures() -> None:
    with pytest.raises(Failed):
        compare(Stored(1, ("field_invalid",)), Stored(1, ()))
    with pytest.raises(Failed):
        compare(Stored(1, ()), Stored(2, ()))
