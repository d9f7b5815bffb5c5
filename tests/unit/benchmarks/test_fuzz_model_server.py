"""A part of the model server's fuzz in every run of the tests, and proof that it finds defects."""

from collections.abc import Iterator

import pytest

from benchmarks.fuzz_checks import Failed, Findings
from benchmarks.fuzz_conversations import Conversation, Ending, Talker
from benchmarks.fuzz_model_server import ModelServer, fuzz, judged, model_server

OK = b'HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\n{"items": []}'
BUSY = b'HTTP/1.1 503 Service Unavailable\r\ncontent-length: 17\r\n\r\n{"error": "busy"}'
VALID = Conversation([b"sent"], Ending.READ, (200,), 1)
SPOILED = VALID._replace(expected=None)


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with model_server(seed=7) as running:
        yield running


def test_odd_conversations_leave_the_server_answering_and_it_stops_in_order(server: ModelServer) -> None:
    findings = Findings()
    fuzz(server, seed=7, connections=4, first=0, requests=300, findings=findings)
    assert findings.examples == []
    assert findings.statuses.total() == 300
    # The conversations are neither all valid nor all invalid.
    assert {"200", "400", "hang_up", "reset"} <= findings.statuses.keys()


def test_a_server_that_ended_is_a_failure(server: ModelServer) -> None:
    server.process.kill()
    server.process.wait()
    with pytest.raises(Failed, match="the server ended with -9"):
        server.verify()


def test_a_conversation_can_be_held_again_by_its_number() -> None:
    assert Talker(1, ["a"]).conversation(5) == Talker(1, ["a"]).conversation(5)
    assert len({str(Talker(1, ["a"]).conversation(number)) for number in range(30)}) > 25


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (b"", "expected"),
        (OK[:-1], "expected"),
        (OK + OK, "the responses are"),
        (OK.replace(b"200 OK", b"500 Internal Server Error"), "the responses are"),
        (OK.replace(b"200 OK", b"400 Bad Request"), "unreadable"),
        (OK.replace(b"[]", b"NN"), "unreadable"),
        (OK.replace(b"[]}", b"0 }"), "without a list"),
        (BUSY, "Retry-After"),
        (b"HTTP/1.1 OK\r\n\r\n", "not a status line"),
    ],
)
def test_a_response_that_no_caller_may_get_is_a_failure(found: bytes, why: str) -> None:
    with pytest.raises(Failed, match=why):
        judged(VALID, found)


def test_spoiled_bytes_may_have_no_response_and_valid_ones_may_not() -> None:
    assert judged(SPOILED, b"") == "no_response"
    assert judged(VALID, OK) == "200"
    assert judged(VALID._replace(ending=Ending.RESET), None) == "reset"
