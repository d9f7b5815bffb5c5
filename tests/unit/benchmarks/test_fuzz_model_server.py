"""The model server's fuzz: its conversations, and proof that it finds defects."""

import pytest

from benchmarks.fuzz_checks import Failed
from benchmarks.fuzz_conversations import Conversation, Ending, Talker
from benchmarks.fuzz_model_server import judged

OK = b'HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\n{"items": []}'
BUSY = b'HTTP/1.1 503 Service Unavailable\r\ncontent-length: 17\r\n\r\n{"error": "busy"}'
VALID = Conversation([b"sent"], Ending.READ, (200,), 1)
SPOILED = VALID._replace(expected=None)


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
