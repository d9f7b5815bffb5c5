"""Drills without AWS: the listing, the choice of the way, and the message of a failure."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from deploy.command import DeployError
from deploy.drill import __main__ as command
from deploy.drill.delivery import Delivered
from deploy.drill.drills import DRILLS, MARKED, Drill
from deploy.drill.place import NotPossible, Place
from deploy.stages import Stage, read_stage
from functions.catalogue.catalogue import catalogue
from functions.compact.compact import compact
from functions.platform.contract import METRICS
from functions.platform.settings import CatalogueSettings, CompactSettings
from functions.rollback.rollback import rollback
from testing.fakes import FakeS3

LOCAL = read_stage("local")
NAME = "tugboat-local-events-refused"


class FakeCloudWatch:
    """CloudWatch with one alarm that keeps what was done to it."""

    def __init__(self, state: str = "OK") -> None:
        self.state, self.done = state, list[tuple[str, Any]]()

    def describe_alarms(self, AlarmNames: list[str]) -> dict[str, Any]:
        found = [{"StateValue": self.state, "StateReason": "three of three"}] if AlarmNames == [NAME] else []
        return {"MetricAlarms": found}

    def set_alarm_state(self, AlarmName: str, StateValue: str, StateReason: str) -> None:
        self.done.append((AlarmName, StateValue))

    def put_metric_data(self, Namespace: str, MetricData: list[dict[str, Any]]) -> None:
        self.done.append((Namespace, {one["MetricName"]: one["Value"] for one in MetricData}))


class FakeSession:
    def __init__(self, cloudwatch: FakeCloudWatch) -> None:
        self.cloudwatch = cloudwatch

    def client(self, service: str) -> Any:
        assert service == "cloudwatch"
        return self.cloudwatch


class FakeSubscriber:
    def __init__(self, delivers: bool = True) -> None:
        self.delivers = delivers

    def wait(self, alarm_name: str, state: str, timeout_s: float) -> Delivered | None:
        message = {"NewStateReason": "r", "AlarmDescription": "Run make status."}
        return Delivered(f"{state}: {alarm_name}", message) if self.delivers else None


def place(cloudwatch: FakeCloudWatch, stage: Stage = LOCAL) -> Place:
    return Place(stage, LOCAL.account_id, FakeSession(cloudwatch), "http://127.0.0.1:1")


def rung(
    cloudwatch: FakeCloudWatch, one: Drill, stage: Stage = LOCAL, delivers: bool = True
) -> command.Outcome:
    return command.drill(place(cloudwatch, stage), one, FakeSubscriber(delivers))  # type: ignore[arg-type]


def drill(cause: Any = None, **changes: Any) -> Drill:
    return Drill(
        "events-refused", "makes it true", cause, {"EventsRefused": MARKED}, {"EventsRefused": 0}, **changes
    )


def test_a_true_cause_is_preferred_and_cleaned_up_after_the_message() -> None:
    cloudwatch = FakeCloudWatch()

    @contextmanager
    def cause(_: Place) -> Iterator[str]:
        cloudwatch.done.append(("cause", "begun"))
        yield "did it"
        cloudwatch.done.append(("cause", "ended"))

    assert rung(cloudwatch, drill(cause)).way == "true cause"
    assert cloudwatch.done == [("cause", "begun"), ("cause", "ended")]


def test_a_cause_that_is_not_possible_gives_way_to_marked_data_points(
    capsys: pytest.CaptureFixture[str],
) -> None:
    cloudwatch = FakeCloudWatch()

    @contextmanager
    def cause(_: Place) -> Iterator[str]:
        raise NotPossible("there is no model")
        yield ""

    assert rung(cloudwatch, drill(cause)).way == "data points"
    assert cloudwatch.done == [("Tugboat", {"EventsRefused": MARKED}), ("Tugboat", {"EventsRefused": 0})]
    printed = capsys.readouterr().out
    assert "no true cause: there is no model" in printed
    assert "9999" in printed


def test_a_stage_of_states_gets_no_data_point_and_no_cause(capsys: pytest.CaptureFixture[str]) -> None:
    cloudwatch = FakeCloudWatch()
    outcome = rung(cloudwatch, drill(cause=pytest.fail), replace(LOCAL, alarm_drills="states"))
    assert outcome.way == "set state"
    assert cloudwatch.done == [(NAME, "ALARM"), (NAME, "OK")]
    assert "set state: SetAlarmState" in capsys.readouterr().out


def test_an_alarm_that_rings_already_is_reset_first() -> None:
    cloudwatch = FakeCloudWatch("ALARM")
    rung(cloudwatch, Drill("events-refused"))
    assert cloudwatch.done == [(NAME, "OK"), (NAME, "ALARM"), (NAME, "OK")]


def test_a_message_that_does_not_arrive_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    outcome = rung(FakeCloudWatch(), drill(), delivers=False)
    command.report(outcome)
    assert "NOT DELIVERED" in capsys.readouterr().out


def test_a_stage_without_the_alarm_is_told_how_to_get_it() -> None:
    with pytest.raises(DeployError, match="make deploy STAGE=local"):
        rung(FakeCloudWatch(), Drill("model-old"))


def test_an_unknown_alarm_is_refused_with_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--stage", "local", "--alarm", "nothing"]) == 1
    assert "events-refused" in capsys.readouterr().err


def test_without_an_alarm_each_is_listed_with_its_way(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--stage", "local"]) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [line.split()[0] for line in lines] == list(DRILLS)
    assert all(len(line.split()) > 4 for line in lines)


@pytest.mark.parametrize("name", DRILLS)
def test_the_data_points_of_a_drill_are_metrics_of_the_contract_and_end_with_good_ones(name: str) -> None:
    one = DRILLS[name]
    assert one.bad.keys() <= METRICS.keys()
    assert one.bad.keys() == one.good.keys()
    assert one.bad != one.good or not one.bad


def test_the_lambdas_refuse_the_events_of_their_drills_before_they_change_anything() -> None:
    s3 = FakeS3()
    with pytest.raises(ValueError, match="drill"):
        compact({"from_day": "drill", "to_day": "drill"}, CompactSettings("bucket", 0), s3)
    with pytest.raises(KeyError):
        catalogue({}, CatalogueSettings("events", "models"), s3)
    with pytest.raises(KeyError):
        rollback({}, _Publish(), None, None, s3, None, lambda: 1)  # type: ignore[typeddict-item,arg-type]
    assert not s3.objects


class _Publish:
    models_bucket = "models"
