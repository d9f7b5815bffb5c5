"""A part of the model server's fuzz in every run of the tests, against a server that runs."""

from collections.abc import Iterator

import pytest

from benchmarks.fuzz_checks import Failed, Findings
from benchmarks.fuzz_model_server import ModelServer, fuzz, model_server


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
