"""The end of the demo: where to look."""

from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from demo import __main__ as demo
from demo.environment import Environment
from deploy.operations_page import Built
from functions.operations.model import Verdict

WHERE = Environment("local", "http://127.0.0.1:4567/local", "us-east-1", None, {})


def test_the_end_names_the_shop_the_dashboards_the_operations_page_and_the_tables() -> None:
    printed = demo.NEXT_STEPS.format(
        items="a,b",
        explain=demo.EXPLAIN.format(request="r-1"),
        run_arguments="",
        operations="      file: page.html",
    )
    assert "  make explain REQUEST=r-1\n" in printed
    for command in ("make shop", "make dashboards", "make operations", "make docs"):
        assert f"  {command}\n" in printed
    assert "http://127.0.0.1:8095" in printed
    assert "file: page.html" in printed


def test_the_page_is_built_and_its_file_and_address_are_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    def build_page(stage: Any, account_id: str, session: Any) -> Built:
        assert (stage.name, account_id) == ("local", "123456789012")
        assert session.region_name == "us-east-1"
        return Built(Path("local.html"), "http://signed", 12, Verdict("yes", "Yes: all is well.", []))

    monkeypatch.setattr(demo, "build_page", build_page)
    printed = demo.operations_page(WHERE)
    assert "Is the shop well? Yes: all is well." in printed
    assert "local.html" in printed
    assert "http://signed" in printed


def test_a_page_that_cannot_be_built_does_not_end_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    def build_page(*_: Any) -> Built:
        raise EndpointConnectionError(endpoint_url="http://127.0.0.1:4566")

    monkeypatch.setattr(demo, "build_page", build_page)
    assert "could not be built" in demo.operations_page(WHERE)
