import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from demo.environment import Environment, WrongShop
from demo.follow import View, explain, follow, line_of, main
from functions.platform.run_history import Execution, folded, key_figures, parse, read_history

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
WHERE = Environment("local", "http://x/api", "us-east-1", "/logs", {})
ARN = "arn:aws:states:us-east-1:123456789012:execution:tugboat-local-pipeline:run-1"


class Script:
    """A builder of histories: each event follows the last one of its state."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.add("ExecutionStarted")

    def add(self, kind: str, **details: Any) -> "Script":
        number = len(self.events) + 1
        event = {
            "id": number,
            "previousEventId": number - 1,
            "type": kind,
            "timestamp": BEGIN + timedelta(seconds=number),
        }
        if details:
            event["anyEventDetails"] = details
        self.events.append(event)
        return self

    def task(self, name: str, output: dict[str, Any] | None, failures: int = 0) -> "Script":
        self.add("TaskStateEntered", name=name, input="{}")
        for _ in range(failures):
            self.add("TaskScheduled", resource="x")
            cause = json.dumps({"errorMessage": "no answer", "errorType": "WarehouseUnavailable"})
            self.add("TaskFailed", error="WarehouseUnavailable", cause=cause)
        if output is not None:
            self.add("TaskScheduled", resource="x").add("TaskSucceeded", output="{}")
            self.add("TaskStateExited", name=name, output=json.dumps(output))
        return self


class Pages:
    """A Step Functions client with one execution, whose history has pages and grows with each request."""

    def __init__(self, script: Script, looks: int = 1, status: str = "SUCCEEDED") -> None:
        self._events, self._looks, self._look, self._status = script.events, looks, 0, status

    def describe_execution(self, executionArn: str) -> dict[str, Any]:
        self._look += 1
        return {"status": self._status if self._look >= self._looks else "RUNNING"}

    def get_execution_history(self, nextToken: str = "0", **_: Any) -> dict[str, Any]:
        known = self._events[: len(self._events) * self._look // self._looks] if self._look else self._events
        start = int(nextToken)
        page: dict[str, Any] = {"events": known[start : start + 3]}
        if start + 3 < len(known):
            page["nextToken"] = str(start + 3)
        return page


def test_the_history_is_read_over_all_its_pages() -> None:
    script = Script().task("Load", {"rows_loaded": 5}).task("Transform", {})
    assert read_history(Pages(script), ARN) == script.events


def test_each_state_has_its_time_its_status_and_its_key_figures() -> None:
    script = (
        Script()
        .task("Load", {"rows_loaded": 113601, "files_loaded": 3})
        .add("ExecutionSucceeded", output="{}")
    )
    story = parse(script.events)
    (load,) = story.states
    assert (story.status, load.status, load.seconds(BEGIN)) == ("SUCCEEDED", "done", 3.0)
    assert line_of(load, BEGIN).endswith("files_loaded=3, rows_loaded=113,601")


def test_a_retried_state_shows_its_tries() -> None:
    story = parse(Script().task("Load", {"rows_loaded": 1}, failures=2).events)
    assert "try 3" in line_of(story.states[0], BEGIN)
    assert story.states[0].failures == ["WarehouseUnavailable: no answer"] * 2


def test_a_state_that_waits_for_its_next_try_is_shown_as_retrying() -> None:
    assert parse(Script().task("Load", None, failures=1).events).states[0].status == "retrying"


def test_a_caught_failure_ends_with_the_error_the_state_and_where_to_look() -> None:
    script = Script().task("Train", {"Error": "AlgorithmError", "Cause": "exit 1"}, failures=2)
    script.task("NotifyFailure", {"MessageId": "m"}).add("FailStateEntered", name="Failed", input="{}")
    script.add("ExecutionFailed", error="AlgorithmError", cause="Train: exit 1")
    story = parse(script.events)
    assert [state.status for state in story.states] == ["caught", "done", "failed"]
    text = explain(story, ARN, WHERE)
    assert "error: AlgorithmError" in text
    assert "state Train failed 2 times" in text
    assert "/logs/" in text


def test_a_refused_batch_ends_with_the_page_and_the_ways_to_go_on() -> None:
    story = Execution(status="FAILED", error="BatchRefused", cause="few events Report: s3://models/r.html")
    where = Environment("dev", "http://x/api", "us-east-1", "/logs", {})
    (line,) = [line for line in explain(story, ARN, where).splitlines() if line.startswith("  next: ")]
    for command in ("make quality", "make limit", "make override", "make rerun"):
        assert f"`{command} STAGE=dev" in line


class Refusing(Environment):
    """A stage whose S3 has one evaluation, or none."""

    page: bytes | None = b"<h1>checks</h1>"

    def client(self, service: str) -> Any:
        return self

    def get_object(self, Bucket: str, Key: str) -> dict[str, Any]:
        assert (Bucket, Key) == ("models", "evaluation/run-1/evaluation.html")
        if self.page is None:
            raise ClientError({"Error": {"Code": "NoSuchKey"}}, "GetObject")
        return {"Body": io.BytesIO(self.page)}


class RefusingWithoutPage(Refusing):
    page = None


def refused() -> Execution:
    cause = "hr_at_20 against popularity is 0.1, must be > 0.2; size_mb is 900, must be <= 500"
    report = "Report: s3://models/evaluation/run-1/evaluation.html"
    return Execution(status="FAILED", error="ModelRefused", cause=f"Evaluate: {cause} {report}")


def test_a_refused_model_ends_with_its_failed_checks_their_page_and_the_next_commands(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    text = explain(refused(), ARN, Refusing("local", "http://x/api", "us-east-1", "/logs", {}))
    (line,) = [line for line in text.splitlines() if line.startswith("  next: ")]
    assert "(failed: hr_at_20 against popularity, size_mb)" in line
    assert "read .local/evaluations/run-1/evaluation.html" in line
    assert (tmp_path / ".local/evaluations/run-1/evaluation.html").read_text() == "<h1>checks</h1>"
    assert "`make run ARGS='--hyperparameter seed=1'` trains again" in line
    assert """`make run ARGS='--override-reason "your reason"'` trains and publishes anyway""" in line


def test_the_next_commands_name_the_stage_and_the_shop_and_s3_where_the_page_cannot_be_copied() -> None:
    where = RefusingWithoutPage("dev", "http://x/api", "us-east-1", None, {})
    text = explain(refused(), ARN, where, shop="other")
    assert "read s3://models/evaluation/run-1/evaluation.html" in text
    assert "make run STAGE=dev ARGS='--shop other --override-reason" in text


def test_a_state_polled_in_a_loop_is_one_line_and_choices_are_none() -> None:
    script = Script()
    for _ in range(3):
        script.task("DescribeEndpoint", {"status": "Creating"})
        script.add("ChoiceStateEntered", name="EndpointReady?", input="{}")
        script.add("ChoiceStateExited", name="EndpointReady?", output="{}")
    (state,) = folded(parse(script.events).states)
    assert (state.name, state.visits) == ("DescribeEndpoint", 3)


def test_the_execution_is_followed_to_its_end_and_each_change_is_told_once() -> None:
    script = Script().task("Load", {"rows_loaded": 5}, failures=1).task("Transform", {"seconds": 3})
    script.add("ExecutionSucceeded", output="{}")
    out = io.StringIO()
    assert follow(Pages(script, looks=6), ARN, out, poll_s=0.001).status == "SUCCEEDED"
    lines = out.getvalue().splitlines()
    assert sum("+ Load" in line for line in lines) == 1
    assert any("Load, try 1: WarehouseUnavailable: no answer" in line for line in lines)


def test_a_terminal_is_redrawn_in_place() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    out, story = Terminal(), parse(Script().task("Load", None).events)
    view = View(out)
    view.draw(story, BEGIN)
    view.draw(story, BEGIN)
    assert out.getvalue().count("\x1b[1A") == 1


def test_an_execution_that_is_aborted_is_over() -> None:
    story = follow(Pages(Script().task("Load", None), status="ABORTED"), ARN, io.StringIO(), poll_s=0.001)
    assert story.status == "ABORTED"
    assert "ABORTED" in explain(story, ARN, WHERE)


@pytest.mark.parametrize(
    ("before", "after", "figures"),
    [
        ({}, {"Payload": {"passed": True, "checks": 31}}, {"passed": "yes", "checks": "31"}),
        ({"rows_loaded": 5}, {"rows_loaded": 5, "interactions": 9}, {"interactions": "9"}),
        ({}, {"metrics": [{"MetricName": "valid_hr_at_20", "Value": 0.61234}]}, {"valid_hr_at_20": "0.6123"}),
        ({}, {"failures": ["too few", "too old"]}, {"failures": "too few; too old"}),
        ({}, {"nothing": "known"}, {}),
    ],
)
def test_key_figures_are_what_a_state_added(before: Any, after: Any, figures: dict[str, str]) -> None:
    assert key_figures(json.dumps(before), json.dumps(after)) == figures


def test_the_shops_of_a_run_are_the_named_ones_or_all_trained_ones() -> None:
    where = Environment(
        "dev", "http://x", "us-east-1", None, {}, ("demo", "second", "third"), ("demo", "second")
    )
    assert where.chosen_shops(None) == ["demo", "second"]
    assert where.chosen_shops("third") == ["third"]
    assert where.chosen_shops("demo,third") == ["demo", "third"]
    with pytest.raises(WrongShop, match=r"no shop secnod\. Its shops are demo, second, third"):
        where.chosen_shops("demo,secnod")
    with pytest.raises(WrongShop, match="name one shop of stage dev: SHOP= one of demo, second, third"):
        where.chosen_shop(None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("epoch=3", "unrecognized arguments: --epoch=3"),
        ("epochs=many", "--epochs: invalid int value: 'many'"),
        ("epochs", "'epochs' is not NAME=VALUE, such as epochs=3"),
    ],
)
def test_a_wrong_hyperparameter_starts_no_run(
    text: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["--hyperparameter", "epochs=3", "--hyperparameter", text])
    assert refused.value.code == 2
    assert said in capsys.readouterr().err
