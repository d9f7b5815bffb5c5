"""The command line without a running stack: it names the command that starts one."""

from pathlib import Path

import pytest

from local import cli
from local.environment import Stack


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["logs"], "no logs in "), (["logs", "jobs"], "no jobs logs in "), (["status"], "starts what is down")],
)
def test_without_a_stack_the_next_step_is_make_up(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(cli, "default_stack", lambda: Stack(4500, tmp_path))
    assert cli.main(arguments) == 1
    printed = capsys.readouterr().err
    assert said in printed
    assert "`make up`" in printed
