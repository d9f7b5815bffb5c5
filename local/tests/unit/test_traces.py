"""Traces as timelines."""

import json
from pathlib import Path
from typing import Any

import pytest

from local import cli, traces

START = 1_795_000_000.0


def segment(trace: str, name: str, number: str, start_ms: int, took_ms: int, **more: Any) -> str:
    times = {"start_time": START + start_ms / 1000, "end_time": START + (start_ms + took_ms) / 1000}
    return json.dumps({"trace_id": trace, "id": number, "name": name, **times, **more})


CALL = {"aws": {"operation": "InvokeEndpoint"}}
RECOMMENDED = [
    segment("1-a", "runtime.sagemaker", "a2", 5, 7, parent_id="a1", **CALL),
    segment("1-a", "api", "a1", 0, 20, parent_id="the gateway's own"),
]
RUN = [
    segment("1-b", "load", "b2", 110, 800, parent_id="s1"),
    *(segment("1-b", "s3", f"b3{n}", 200 + n, 1, parent_id="b2", fault=True) for n in range(5)),
    segment("1-b", "pipeline", "b1", 100, 2000, subsegments=[
        {"id": "s1", "name": "Load", "start_time": START + 0.1, "end_time": START + 1},
        {"id": "s2", "name": "Transform", "start_time": START + 1, "end_time": START + 2.1},
    ]),
]  # fmt: skip


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "logs" / "xray.jsonl"
    path.parent.mkdir()
    cut = '6", "name": "cut off by the reading"}'
    begun = json.dumps(
        {"trace_id": "1-c", "id": "c", "name": "begun", "start_time": START, "in_progress": True}
    )
    path.write_text("\n".join([cut, *RECOMMENDED, *RUN, begun, '{"trace_id": "being writ']))
    return path


def test_spans_are_below_their_parents_in_the_order_of_time(file: Path) -> None:
    asked, ran = traces.read(file)
    assert (asked.name, [one.name for one in asked.below]) == ("api", ["runtime.sagemaker InvokeEndpoint"])
    assert [line.split("  ")[0] for line in map(str.strip, traces.timeline(ran).splitlines()[1:])] == [
        *(
            "pipeline",
            "Load",
            "load",
            "s3, failed",
            "s3, failed",
            "s3, failed",
            "s3, 2 times more",
            "Transform",
        )
    ]


def test_a_timeline_shows_offset_and_duration(file: Path) -> None:
    call = traces.timeline(traces.read(file)[0]).splitlines()[2]
    assert call.split()[-4:] == ["5.0", "ms", "7.0", "ms"]


def test_of_traces_with_the_same_spans_the_newest_is_shown(file: Path) -> None:
    later = [
        segment("1-d", "runtime.sagemaker", "d2", 9005, 3, parent_id="d1", **CALL),
        segment("1-d", "api", "d1", 9000, 4),
    ]
    file.write_text("\n".join([*RECOMMENDED, *RUN, *later]))
    newest = traces.newest_of_each_kind(traces.read(file))
    assert [(one.name, round(one.began - START, 1)) for one in newest] == [("pipeline", 0.1), ("api", 9.0)]
    assert [one.name for one in traces.newest_of_each_kind(traces.read(file), "invokeendpoint")] == ["api"]


def test_the_command_prints_traces_and_names_the_next_step_if_there_are_none(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TUGBOAT_LOCAL_STATE", str(file.parents[1]))
    assert cli.main(["traces", "sagemaker"]) == 0
    assert "InvokeEndpoint" in capsys.readouterr().out
    file.unlink()
    assert cli.main(["traces"]) == 1
    assert "make recommend" in capsys.readouterr().err
