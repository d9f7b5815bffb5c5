"""The shell that the benchmarks share."""

import sys

import pytest

from benchmarks.conditions import conditions, parser


def test_a_line_starts_with_the_benchmark_the_command_the_machine_and_then_its_data_and_seed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "argv", ["collect.py", "--starts", "3"])
    line = conditions("collect", data="events of one page", seed=7)
    assert list(line) == ["benchmark", "command", "at", "machine", "data", "seed"]
    assert line["command"] == "python -m benchmarks.collect --starts 3"
    assert set(line["machine"]) == {"cores", "cpu", "memory_gib", "load_1_minute"}
    assert (line["data"], line["seed"]) == ("events of one page", 7)


def test_the_help_ends_with_an_example_of_the_command() -> None:
    text = parser("collect", "Measure the collector.", "--starts 31").format_help()
    assert text.rstrip().endswith("example: python -m benchmarks.collect --starts 31")
