"""The command before it reaches the stage."""

import pytest

from deploy.explain.__main__ import main


def test_without_an_id_the_command_says_which_one_it_needs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--stage", "local", "--request", ""]) == 1
    assert "make explain REQUEST=<request_id" in capsys.readouterr().err
