"""Logs of the Lambdas: JSON lines with the id of their request or execution."""

import io
import json
import logging
from collections.abc import Iterator
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

import app
from deploy import lambdas
from functions import wiring
from functions.platform import settings, warehouse
from functions.platform.log import JsonFormatter, bind, get_logger
from tests.unit.contracts.test_document import Shop, examples, shop

__all__ = ["shop"]  # a fixture

HTTP = ("api_handler", "collect")
STEPS = {
    **{name: f"functions.{name}.{name}.{name}" for name in lambdas.NAMES if name not in HTTP},
    "erase_rows": "functions.erase.rows.erase_rows",
    "histories": "functions.batch.histories.histories",
    "answers": "functions.recommend.batch.answers",
}
LOGIN = warehouse.Credentials("account", "user", "key", "database", "warehouse", "role")


@pytest.fixture
def printed() -> Iterator[io.StringIO]:
    """The output of the functions' loggers."""
    get_logger("functions.test")
    # pytest adds its own handlers.
    [handler] = [
        handler
        for handler in logging.getLogger("functions").handlers
        if isinstance(handler.formatter, JsonFormatter)
    ]
    assert isinstance(handler, logging.StreamHandler)
    printed = io.StringIO()
    before = handler.setStream(printed)
    yield printed
    handler.setStream(before)
    bind()


def lines(printed: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in printed.getvalue().splitlines()]


def invoke(name: str, event: Any, request_id: str) -> Any:
    context = SimpleNamespace(aws_request_id=request_id, get_remaining_time_in_millis=lambda: 900_000)
    return getattr(app, name)(event, context)


@pytest.mark.parametrize("name", STEPS)
def test_every_line_of_a_step_names_its_request_and_its_execution(
    name: str, monkeypatch: pytest.MonkeyPatch, printed: io.StringIO
) -> None:
    def step(*_: Any) -> dict[str, Any]:
        get_logger(f"functions.{name}").info("done", rows=3)
        return {}

    monkeypatch.setattr(STEPS[name], step)
    monkeypatch.setattr(warehouse, "connect", lambda _: nullcontext())
    monkeypatch.setattr(warehouse, "read_credentials", lambda *_: LOGIN)
    for read in (
        "answers_settings",
        "canary_settings",
        "catalogue_settings",
        "collect_settings",
        "compact_settings",
        "erase_settings",
        "lock_settings",
        "operations_settings",
        "publish_settings",
        "warehouse_settings",
    ):
        given = SimpleNamespace(
            snowflake_secret="s", receipts_secret="r", eraser_role="e", has_own_warehouse=lambda _: False
        )
        monkeypatch.setattr(settings, read, lambda given=given: given)
    monkeypatch.setattr(wiring, "client", lambda _: None)
    monkeypatch.setattr(wiring, "time_boxed_client", lambda *_: None)
    monkeypatch.setattr(wiring, "_erasures_key", lambda: "key")
    invoke(name, {"run_id": "nightly-1"}, "invocation-1")
    invoke(name, {}, "invocation-2")
    expected = {"level": "info", "message": "done", "logger": f"functions.{name}", "rows": 3}
    assert lines(printed) == [
        {**expected, "request_id": "invocation-1", "run_id": "nightly-1"},
        {**expected, "request_id": "invocation-2"},
    ]


def test_an_event_that_is_not_an_object_reaches_the_step_that_refuses_it(
    monkeypatch: pytest.MonkeyPatch, printed: io.StringIO
) -> None:
    monkeypatch.setattr(settings, "collect_settings", lambda: SimpleNamespace(receipts_secret="r"))
    monkeypatch.setattr(wiring, "client", lambda _: None)
    monkeypatch.setattr(wiring, "time_boxed_client", lambda *_: None)
    with pytest.raises(ValueError, match="not an object"):
        invoke("replay", ["raw"], "invocation-1")


def test_every_line_of_a_request_carries_the_request_id_of_its_response(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, printed: io.StringIO
) -> None:
    monkeypatch.setattr("functions.platform.events.delivery.FIRST_PAUSE_S", 0)
    shop.firehose.break_next, shop.s3.down = 99, True
    refused = shop.curl(examples()[0].command).json["request_id"]
    shop.firehose.break_next, shop.s3.down = 0, False
    taken = shop.curl(examples()[0].command).json["request_id"]
    ids = [line["request_id"] for line in lines(printed)]
    assert refused != taken
    # The second request writes its count and its metrics.
    assert ids == [refused] * (len(ids) - 2) + [taken] * 2


def test_an_error_is_one_line_with_its_traceback(printed: io.StringIO) -> None:
    bind(request_id="r")
    try:
        raise RuntimeError("two\nlines")
    except RuntimeError:
        get_logger("functions.test").exception("it failed", of=b"bytes")
    [line] = lines(printed)
    assert (line["level"], line["request_id"], line["of"]) == ("error", "r", "b'bytes'")
    assert line["traceback"].endswith("RuntimeError: two\nlines")


def test_lambda_s_own_handler_does_not_print_a_line_again() -> None:
    get_logger("functions.test")
    assert not logging.getLogger("functions").propagate
