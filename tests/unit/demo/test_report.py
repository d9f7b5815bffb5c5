from typing import Any

import pytest

from demo import baselines
from demo.http import Http
from demo.recommend import ask
from demo.report import measure, sample, scores_table, show_carousels
from tests.unit.demo.collector import Collector, running

TRAINING = [["a", "b", "c"], ["a", "b"], ["b", "c", "d"], ["d", "e"]] * 3
TEST = [["a", "b", "c"], ["d", "e"], ["b", "c"]]


def answering(items: list[str], source: str = "model") -> dict[str, Any]:
    return {
        "items": [{"item_id": item, "score": 1.0} for item in items],
        "source": source,
        "reason": "because",
        "model_version": "m-1",
        "request_id": "r",
    }


def test_the_served_model_is_scored_over_http_like_the_baselines_are() -> None:
    knn = baselines.session_knn(TRAINING)
    with running(Collector(recommend=lambda items, k: answering(knn(items, k)))) as service:
        report = measure(Http(4), service.url, TRAINING, TEST)
    assert report.served == report.others["session-kNN (VMIS)"]
    assert (report.prefixes, report.failures, report.model_versions) == (4, [], ["m-1"])
    assert "served by /recommend" in scores_table(report)
    assert report.latency_ms(0.5) <= report.latency_ms(0.99)


def test_answers_from_the_fallback_fail_the_report() -> None:
    with running(Collector(recommend=lambda items, k: answering(["a"], source="popular"))) as service:
        report = measure(Http(4), service.url, TRAINING, TEST)
    assert report.fallback_share == 1.0
    assert "100.0% of the answers came from the fallback" in report.failures[0]
    assert "'popular' because 'because'" in report.failures[0]


def test_no_test_session_fails_the_report() -> None:
    with running(Collector()) as service:
        assert "no test sessions" in measure(Http(1), service.url, TRAINING, [["a"]]).failures[0]


def test_an_id_with_a_comma_is_asked_for_in_a_body() -> None:
    asked: list[tuple[str, str]] = []

    class Recording(Http):
        def post(self, url: str, body: bytes, headers: Any) -> Any:
            asked.append(("POST", body.decode()))
            raise InterruptedError

    with pytest.raises(InterruptedError):
        ask(Recording(1), "http://x", ["a,b"], 5, "demo")
    assert '"items": ["a,b"]' in asked[0][1]


def test_a_sample_is_whole_sessions_and_always_the_same() -> None:
    sessions = [[str(n), "x", "y"] for n in range(100)]
    chosen = sample(sessions, 50)
    assert chosen == sample(sessions, 50)
    assert len(chosen) == 25
    assert sample(sessions, 200) == sessions


def test_carousels_show_names_where_there_are_any_and_mark_what_came_next() -> None:
    with running(Collector(recommend=lambda items, k: answering(["c", "d"]))) as service:
        lines = show_carousels(Http(1), service.url, [["a", "b", "c", "e"]], {"c": "Oak Chair"})
    text = "\n".join(lines)
    assert "after a, b:" in text
    assert "1. Oak Chair (c)  *" in text
    assert "source model, reason because, model m-1" in text
