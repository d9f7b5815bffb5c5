import pytest

from tests.missing import missing


def test_a_missing_program_skips_a_test_and_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="gcc is missing: apt install gcc"):
        missing("gcc", "apt install gcc")


def test_a_missing_program_fails_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="gcc is missing: apt install gcc"):
        missing("gcc", "apt install gcc")
