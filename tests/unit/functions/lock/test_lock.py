"""The lock: of several executions one runs, and an execution that ended without releasing it blocks nobody."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pytest

from functions.lock.lock import TRIES, UNKNOWN_MEANS_ENDED_AFTER, Failure, LockEvent, lock
from functions.platform.contract import LOCK_KEY, LockResult
from functions.platform.errors import StorageUnavailable
from functions.platform.s3_keys import lock_key
from functions.platform.settings import LockSettings
from testing.fakes import FakeS3, client_error

SETTINGS = LockSettings("models")
FIRST, SECOND, THIRD = (
    f"arn:aws:states:us-east-1:1:execution:tugboat-test-pipeline:{n}" for n in ("1", "2", "3")
)


class Executions:
    """Step Functions with the status of each execution."""

    def __init__(self) -> None:
        self.status = dict.fromkeys((FIRST, SECOND, THIRD), "RUNNING")

    def describe_execution(self, executionArn: str) -> dict[str, str]:
        if executionArn not in self.status:
            raise client_error("ExecutionDoesNotExist")
        return {"status": self.status[executionArn]}


class RacingS3(FakeS3):
    """S3 that lets another execution write after each of our reads, as long as there are any."""

    def __init__(self) -> None:
        super().__init__()
        self.after_read: list[Callable[[], Any]] = []

    def get_object(self, Bucket: str, Key: str, Range: str = "", **_: Any) -> dict[str, Any]:
        try:
            return super().get_object(Bucket, Key, Range)
        finally:
            if self.after_read:
                self.after_read.pop(0)()


@pytest.fixture
def s3() -> RacingS3:
    return RacingS3()


@pytest.fixture
def states() -> Executions:
    return Executions()


def acquire(execution: str, s3: FakeS3, states: Executions) -> LockResult:
    return ask("acquire", execution, s3, states)


def ask(action: Literal["acquire", "release"], execution: str, s3: FakeS3, states: Executions) -> LockResult:
    return lock({"run_id": "20261129-0", "action": action, "execution_arn": execution}, SETTINGS, s3, states)


def holder(s3: FakeS3) -> str | None:
    stored = s3.objects.get(("models", LOCK_KEY))
    return json.loads(stored)["execution_arn"] if stored else None


def test_the_first_execution_runs_and_the_second_learns_which_one_does(
    s3: RacingS3, states: Executions
) -> None:
    assert acquire(FIRST, s3, states) == {"acquired": True, "holder": FIRST}
    assert acquire(SECOND, s3, states) == {"acquired": False, "holder": FIRST}


def test_after_a_release_the_next_execution_runs(s3: RacingS3, states: Executions) -> None:
    acquire(FIRST, s3, states)
    assert ask("release", FIRST, s3, states) == {"acquired": False, "holder": None}
    assert acquire(SECOND, s3, states)["acquired"]


def test_both_actions_can_be_repeated(s3: RacingS3, states: Executions) -> None:
    assert acquire(FIRST, s3, states) == acquire(FIRST, s3, states)
    assert ask("release", FIRST, s3, states) == ask("release", FIRST, s3, states)


def test_of_two_that_find_no_lock_at_once_one_runs(s3: RacingS3, states: Executions) -> None:
    s3.after_read = [lambda: acquire(SECOND, s3, states)]
    assert acquire(FIRST, s3, states) == {"acquired": False, "holder": SECOND}
    assert holder(s3) == SECOND


@pytest.mark.parametrize("status", ["FAILED", "TIMED_OUT", "ABORTED", "SUCCEEDED"])
def test_an_execution_that_ended_without_a_release_blocks_nobody(
    s3: RacingS3, states: Executions, status: str
) -> None:
    acquire(FIRST, s3, states)
    states.status[FIRST] = status
    assert acquire(SECOND, s3, states)["acquired"]
    assert acquire(THIRD, s3, states) == {"acquired": False, "holder": SECOND}


def test_of_two_that_replace_a_stale_lock_at_once_one_runs(s3: RacingS3, states: Executions) -> None:
    acquire(FIRST, s3, states)
    states.status[FIRST] = "ABORTED"
    s3.after_read = [lambda: acquire(SECOND, s3, states)]
    assert acquire(THIRD, s3, states) == {"acquired": False, "holder": SECOND}


def test_a_lock_that_is_released_while_it_is_read_is_acquired(s3: RacingS3, states: Executions) -> None:
    acquire(FIRST, s3, states)
    states.status[FIRST] = "ABORTED"
    s3.after_read = [lambda: ask("release", FIRST, s3, states)]
    assert acquire(SECOND, s3, states)["acquired"]


def test_a_late_release_does_not_delete_the_lock_of_another(s3: RacingS3, states: Executions) -> None:
    acquire(FIRST, s3, states)
    states.status[FIRST] = "TIMED_OUT"
    s3.after_read = [lambda: acquire(SECOND, s3, states)]
    ask("release", FIRST, s3, states)
    assert holder(s3) == SECOND
    assert ask("release", FIRST, s3, states) == {"acquired": False, "holder": SECOND}


def test_an_execution_that_is_not_found_yet_is_taken_as_running_and_later_as_ended(
    s3: RacingS3, states: Executions
) -> None:
    acquire(FIRST, s3, states)
    del states.status[FIRST]
    s3.stored_at["models", LOCK_KEY] = datetime.now(UTC)
    assert not acquire(SECOND, s3, states)["acquired"]
    s3.stored_at["models", LOCK_KEY] -= UNKNOWN_MEANS_ENDED_AFTER + timedelta(seconds=1)
    assert acquire(SECOND, s3, states)["acquired"]


def test_a_lock_that_keeps_changing_is_a_failure_that_may_pass(s3: RacingS3, states: Executions) -> None:
    def restart() -> None:
        s3.objects.pop(("models", LOCK_KEY), None)
        s3.objects["models", LOCK_KEY] = json.dumps(
            {"execution_arn": f"{FIRST}{len(s3.after_read)}"}
        ).encode()

    s3.stored_at["models", LOCK_KEY] = datetime.now(UTC) - timedelta(days=91)
    s3.after_read = [restart] * TRIES
    with pytest.raises(StorageUnavailable, match=rf"{LOCK_KEY} changed {TRIES} times"):
        acquire(SECOND, s3, states)


def test_without_s3_nobody_runs(s3: RacingS3, states: Executions) -> None:
    s3.down = True
    with pytest.raises(StorageUnavailable, match=LOCK_KEY):
        acquire(FIRST, s3, states)


ERASURE = "erasure-0123456789abcdef"


def lease(
    action: Literal["acquire", "release"], s3: FakeS3, states: Executions, seconds: int = 960
) -> LockResult:
    event: Any = {"run_id": "erase-1", "action": action, "execution_arn": ERASURE, "lease_s": seconds}
    return lock(event, SETTINGS, s3, states)


def test_an_erasure_and_an_execution_exclude_each_other(s3: RacingS3, states: Executions) -> None:
    assert lease("acquire", s3, states) == {"acquired": True, "holder": ERASURE}
    assert acquire(FIRST, s3, states) == {"acquired": False, "holder": ERASURE}
    assert lease("acquire", s3, states)["acquired"] is True
    lease("release", s3, states)
    assert acquire(FIRST, s3, states)["acquired"] is True
    assert lease("acquire", s3, states) == {"acquired": False, "holder": FIRST}


def test_the_lease_of_an_erasure_that_was_killed_ends(s3: RacingS3, states: Executions) -> None:
    lease("acquire", s3, states, seconds=0)
    assert acquire(FIRST, s3, states)["acquired"] is True


def end(redriven: bool, error: str = "BatchRefused") -> LockResult:
    failure: Failure = {"state": "Validate", "error": error, "cause": "rows fell by 60 %"}
    event: LockEvent = {
        "run_id": "20261129-0",
        "action": "end",
        "execution_arn": FIRST,
        "failure": failure,
        "redriven": redriven,
    }
    return lock(event, SETTINGS, FakeS3(), Executions())


@pytest.mark.parametrize("error", ["BatchRefused", "SageMaker.AmazonSageMakerException"])
def test_a_failed_run_ends_under_the_name_of_its_error(error: str) -> None:
    with pytest.raises(Exception, match="Validate: rows fell by 60 %") as raised:
        end(redriven=False, error=error)
    # Lambda reports this name as the errorType.
    assert type(raised.value).__name__ == error


def test_a_redriven_run_goes_on() -> None:
    assert end(redriven=True) == {"acquired": False, "holder": None}


def test_a_redriven_run_takes_the_lock_again_unless_another_run_took_it(
    s3: RacingS3, states: Executions
) -> None:
    acquire(FIRST, s3, states)
    states.status[FIRST] = "ABORTED"
    assert acquire(SECOND, s3, states)["acquired"]
    states.status[FIRST] = "RUNNING"
    assert acquire(FIRST, s3, states) == {"acquired": False, "holder": SECOND}
    states.status[SECOND] = "SUCCEEDED"
    assert acquire(FIRST, s3, states)["acquired"]


NIGHT = "arn:aws:states:us-east-1:1:execution:tugboat-test-night:n"


def of_shop(
    action: Literal["acquire", "release"],
    execution: str,
    shop: str,
    s3: FakeS3,
    states: Executions,
    night: str = "",
) -> LockResult:
    event: LockEvent = {
        "run_id": "20261129-0",
        "action": action,
        "execution_arn": execution,
        "shop_id": shop,
        "night": night,
    }
    return lock(event, SETTINGS, s3, states)


def holders(s3: FakeS3) -> dict[str, str]:
    """Return the holder of each lock by its key."""
    return {key: json.loads(body)["execution_arn"] for (_, key), body in s3.objects.items()}


def test_the_executions_of_a_night_run_beside_each_other_under_its_lock(
    s3: RacingS3, states: Executions
) -> None:
    states.status[NIGHT] = "RUNNING"
    acquire(NIGHT, s3, states)
    for execution, shop in ((FIRST, "demo"), (SECOND, "second")):
        assert of_shop("acquire", execution, shop, s3, states, NIGHT)["acquired"]
    assert holders(s3) == {LOCK_KEY: NIGHT, lock_key("demo"): FIRST, lock_key("second"): SECOND}
    for execution, shop in ((FIRST, "demo"), (SECOND, "second")):
        of_shop("release", execution, shop, s3, states, NIGHT)
    assert holders(s3) == {LOCK_KEY: NIGHT}


def test_a_run_that_no_night_started_holds_both_locks_and_waits_for_the_night(
    s3: RacingS3, states: Executions
) -> None:
    assert of_shop("acquire", FIRST, "demo", s3, states)["acquired"]
    assert holders(s3) == {LOCK_KEY: FIRST, lock_key("demo"): FIRST}
    assert acquire(NIGHT, s3, states) == {"acquired": False, "holder": FIRST}
    of_shop("release", FIRST, "demo", s3, states)
    assert holders(s3) == {}
    states.status[NIGHT] = "RUNNING"
    acquire(NIGHT, s3, states)
    assert of_shop("acquire", SECOND, "second", s3, states) == {"acquired": False, "holder": NIGHT}
    assert holders(s3) == {LOCK_KEY: NIGHT}, "a refused run leaves no lock"


def test_the_execution_of_a_stopped_night_keeps_its_shop_from_the_next_one(
    s3: RacingS3, states: Executions
) -> None:
    """A night that was stopped may leave an execution that still publishes."""
    states.status[NIGHT] = "RUNNING"
    acquire(NIGHT, s3, states)
    of_shop("acquire", FIRST, "demo", s3, states, NIGHT)
    states.status[NIGHT] = "ABORTED"
    following = f"{NIGHT}2"
    states.status[following] = "RUNNING"
    assert acquire(following, s3, states)["acquired"]
    refused = of_shop("acquire", SECOND, "demo", s3, states, following)
    assert refused == {"acquired": False, "holder": FIRST}
    assert of_shop("acquire", THIRD, "second", s3, states, following)["acquired"]


def test_a_redriven_execution_takes_the_lock_of_the_tables_that_its_night_has_released(
    s3: RacingS3, states: Executions
) -> None:
    states.status[NIGHT] = "FAILED"
    assert of_shop("acquire", FIRST, "demo", s3, states, NIGHT)["acquired"]
    assert holders(s3) == {LOCK_KEY: FIRST, lock_key("demo"): FIRST}
    assert of_shop("acquire", SECOND, "second", s3, states, NIGHT) == {"acquired": False, "holder": FIRST}
