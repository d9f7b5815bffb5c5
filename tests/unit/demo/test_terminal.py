import io

from demo.terminal import APPEND_EVERY_S, Progress


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def lines_of(rates: list[float], total: int) -> list[str]:
    """Work for a second at each rate, with ten updates per second, and return the progress lines."""
    out, clock, done = io.StringIO(), Clock(), 0.0
    progress = Progress("sending", total, out=out, clock=clock)
    for rate in rates:
        for _ in range(10):
            clock.now_s += 0.1
            done += rate / 10
            progress.update(int(done))
    progress.finish(int(done))
    return out.getvalue().splitlines()


def test_a_slow_start_gives_no_estimate() -> None:
    first, *_ = lines_of([0, 0, 100, 100, 400, 7000, 7000, 7000], total=50_000)
    assert first.endswith(" of 50,000 events")


def test_no_progress_gives_no_estimate() -> None:
    assert lines_of([0] * 6, total=50_000)[0] == "sending: 0 of 50,000 events"


def test_steady_work_is_estimated_from_its_last_seconds_and_not_from_its_slow_start() -> None:
    lines = lines_of([0, 0, 0, 100, 100, *[1000] * 6], total=20_000)
    assert lines[1].startswith("sending: 5,")
    assert "1,000/s, about 1" in lines[1]


def test_the_last_line_has_the_rate_over_all_and_the_duration() -> None:
    assert lines_of([0, 0, 1000, 1000], total=2000)[-1] == "sending: 2,000 of 2,000 events, 500/s, 4.0 s"


def test_a_file_gets_a_line_every_few_seconds_only() -> None:
    assert len(lines_of([10] * 12, total=1000)) == 12 // APPEND_EVERY_S + 1
