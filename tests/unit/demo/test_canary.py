"""Sessions that ask during a canary, and the table of the releases that answered."""

from dataclasses import replace
from typing import Any

import pytest

from demo import canary
from demo.canary import by_variant, walk
from demo.environment import Environment
from demo.http import RequestFailed
from demo.recommend import Carousel, Visitor

ANSWER = Carousel(["a", "b"], "model", "", "m1", "r", 20.0, variant="current")


def answering(monkeypatch: pytest.MonkeyPatch, of: dict[str, Carousel]) -> list[tuple[str, list[str]]]:
    """Let /recommend answer sessions by name, else as the current release; return what each of them asked."""
    asked: list[tuple[str, list[str]]] = []

    def ask(_: Any, __: str, items: list[str], k: int, shop_id: str, visitor: Visitor) -> Carousel:
        asked.append((visitor.session_id, list(items)))
        return of.get(visitor.session_id, ANSWER)

    monkeypatch.setattr(canary, "ask", ask)
    where = Environment("local", "http://api", "us-east-1", None, {"demo": "key"})
    monkeypatch.setattr("demo.environment.from_variables", lambda: where)
    return asked


def test_a_session_goes_on_with_the_items_that_it_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answering(monkeypatch, {"s2": replace(ANSWER, items=[])})
    list(walk(None, "http://api", "demo", "s1", 3, 10))  # type: ignore[arg-type]  # nothing is sent
    list(walk(None, "http://api", "demo", "s2", 2, 10))  # type: ignore[arg-type]
    assert asked == [("s1", []), ("s1", ["a"]), ("s1", ["a", "b"]), ("s2", []), ("s2", [])]


def test_carousels_are_counted_by_the_variant_that_answered() -> None:
    candidate = replace(ANSWER, variant="candidate", model_version="m2", milliseconds=30.0)
    rows = [one.row for one in by_variant([ANSWER, candidate, ANSWER, replace(ANSWER, items=[])])]
    assert rows == [("candidate", "m2", "1", "0", "30 ms"), ("current", "m1", "3", "1", "20 ms")]


def test_the_table_shows_both_releases(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answering(monkeypatch, {"canary-3": replace(ANSWER, variant="candidate", model_version="m2")})
    assert canary.main(["--sessions", "10", "--pages", "1"]) == 0
    shown = capsys.readouterr().out
    assert "candidate" in shown
    assert "m2" in shown
    assert "No candidate answered" not in shown


def test_without_a_canary_the_table_says_when_one_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answering(monkeypatch, {})
    assert canary.main(["--sessions", "2"]) == 0
    assert "No candidate answered. A canary runs while make run waits" in capsys.readouterr().out


def test_an_api_that_does_not_answer_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answering(monkeypatch, {})

    def fail(*_: Any) -> Carousel:
        raise RequestFailed("http://api/recommend does not answer")

    monkeypatch.setattr(canary, "ask", fail)
    assert canary.main(["--sessions", "1"]) == 1
    assert "canary: http://api/recommend does not answer" in capsys.readouterr().err
