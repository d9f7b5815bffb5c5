"""make erase: it calls the right Lambda until the certificate is there, under the lock, whoever was killed before."""

import io
import json
from pathlib import Path
from typing import Any

import boto3
import pytest

from deploy.erase import EraseError, Erasure, confirmed, main, save
from deploy.stages import read_stage
from testing.fakes import FakeSession
from tests.unit.functions.erase.world import ANNA, SETTINGS, Lake

LOCAL = read_stage("local")


class Lambdas:
    """The stage's Lambdas over a lake; `busy` makes the lock belong to somebody else, `failing` breaks the next calls."""

    def __init__(self, lake: Lake) -> None:
        self.lake = lake
        self.called: list[tuple[str, dict[str, Any]]] = []
        self.busy = False
        self.failing = 0
        self.clients_calls = 0

    def invoke(self, FunctionName: str, Payload: bytes) -> dict[str, Any]:
        name, event = FunctionName.removeprefix("tugboat-local-"), json.loads(Payload)
        self.called.append((name, event))
        return {"Payload": io.BytesIO(json.dumps(self._answer(name, event)).encode())}

    def _answer(self, name: str, event: dict[str, Any]) -> Any:
        if name == "lock":
            held = event["action"] == "acquire" and not self.busy
            return {"acquired": held, "holder": "arn:of:a:run" if self.busy else event["execution_arn"]}
        if name == "transform":
            return {"run_id": event["run_id"], "models": [], "seconds": 1.0}
        if self.failing:
            self.failing -= 1
            return {"errorType": "StorageUnavailable", "errorMessage": "S3 is slow."}
        return self.lake.call(event, "find" if name == "erase_rows" else "raw")


@pytest.fixture
def lambdas(monkeypatch: pytest.MonkeyPatch) -> Lambdas:
    lake = Lake()
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", FakeSession(lake.s3))
    lake.fill()
    return Lambdas(lake)


def erasure(lambdas: Lambdas, said: list[str] | None = None, **person: str) -> Erasure:
    return Erasure(LOCAL, person, lambdas, (said if said is not None else []).append, pause_s=0)


def test_the_command_calls_until_the_certificate_is_written_and_makes_the_totals_again(
    lambdas: Lambdas,
) -> None:
    said: list[str] = []
    command = erasure(lambdas, said, client=ANNA)
    result = command.finish(command.begin())
    assert result["certificate"]["complete"] is True
    assert ANNA.encode() not in lambdas.lake.everything()
    names = [name for name, _ in lambdas.called]
    assert names[-3:] == ["lock", "transform", "lock"]
    assert lambdas.called[-1][1]["action"] == "release"
    assert ANNA not in "".join(said)
    assert any("lines and rows" in line for line in said)
    # Each call works under a lease that outlasts it.
    assert all(before[0] == "lock" for before, (name, event) in zip(lambdas.called, lambdas.called[1:], strict=False)
               if name.startswith("erase") and event.get("action") != "look")  # fmt: skip


@pytest.mark.parametrize("calls", range(1, 14))
def test_a_command_that_is_killed_after_any_call_is_continued_by_the_same_command(
    lambdas: Lambdas, calls: int
) -> None:
    class Killed(BaseException):
        pass

    original = lambdas.invoke

    def invoke(**given: Any) -> Any:
        if len(lambdas.called) >= calls:
            raise Killed
        return original(**given)

    lambdas.invoke = invoke  # type: ignore[assignment]
    command = erasure(lambdas, client=ANNA)
    try:
        command.finish(command.begin())
    except Killed:
        lambdas.invoke = original  # type: ignore[method-assign]
        command = erasure(lambdas, client=ANNA)
        assert command.finish(command.begin())["phase"] == "done"
    assert ANNA.encode() not in lambdas.lake.everything()


def test_while_the_pipeline_runs_nothing_is_erased(lambdas: Lambdas) -> None:
    lambdas.busy = True
    before = lambdas.lake.everything()
    with pytest.raises(EraseError, match=r"arn:of:a:run holds the stage's lock: run the same command again"):
        erasure(lambdas, client=ANNA).begin()
    assert lambdas.lake.everything() == before


def test_a_slow_service_is_asked_again_and_a_broken_one_ends_with_the_next_step(lambdas: Lambdas) -> None:
    lambdas.failing = 2
    command = erasure(lambdas, client=ANNA)
    assert command.finish(command.begin())["phase"] == "done"
    lambdas.failing = 100
    with pytest.raises(EraseError, match="run the same command"):
        erasure(lambdas, client=ANNA).look()


def test_the_clients_of_a_user_are_shown_and_a_no_erases_nothing(
    lambdas: Lambdas, capsys: pytest.CaptureFixture[str]
) -> None:
    before = lambdas.lake.everything()
    command = erasure(lambdas, user="user-anna")
    result = command.begin()
    assert not confirmed(result["clients"], lambda _: "no")
    assert f"shop demo: {ANNA}" in capsys.readouterr().out
    assert confirmed(result["clients"], lambda _: " YES ")
    command.abandon()
    assert lambdas.lake.everything() == before


def test_the_certificate_is_saved_as_json_and_as_text(lambdas: Lambdas, tmp_path: Path) -> None:
    command = erasure(lambdas, client=ANNA)
    result = command.finish(command.begin())
    stored = next(body for (_, key), body in lambdas.lake.s3.objects.items() if key.endswith(".txt"))
    path = save(result, stored.decode(), tmp_path)
    assert json.loads(path.with_suffix(".json").read_text()) == result["certificate"]
    assert path.read_text().startswith(f"Certificate of erasure, stage {SETTINGS.stage}")
    assert ANNA not in path.name + path.read_text()


def test_a_misspelt_shop_gets_no_certificate_that_nothing_is_left(
    lambdas: Lambdas, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--stage", "local", "--client", ANNA, "--shop", "dmeo"]) == 1
    assert "has no shop 'dmeo': use SHOP= one of demo, " in capsys.readouterr().err
    assert lambdas.called == []


@pytest.mark.parametrize("who", ["--client", "--user"])
def test_an_empty_id_is_refused_before_the_stage_is_asked(
    who: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--stage", "local", who, ""])
    assert "the id is empty: name one by CLIENT=id or USER=id" in capsys.readouterr().err
