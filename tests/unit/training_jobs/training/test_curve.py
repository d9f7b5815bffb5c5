"""The training curve: one entry per epoch, also when a job is interrupted."""

from pathlib import Path

from training_jobs.training.job import CURVE_FIELDS, Curve


def line(epoch: int, loss: float) -> dict[str, float | int | str]:
    return {
        "stage": "learn",
        "epoch": epoch,
        "loss": loss,
        "valid_hr_at_20": 0.1 * epoch,
        "events_per_s": 12_345,
    }


def test_an_epoch_keeps_the_figures_that_do_not_depend_on_the_machine() -> None:
    curve = Curve(None)
    curve.add(line(1, 3.5))
    assert curve.epochs == [{"epoch": 1, "loss": 3.5, "valid_hr_at_20": 0.1}]
    assert set(curve.epochs[0]) <= set(CURVE_FIELDS)


def test_a_resumed_job_continues_the_curve_and_replaces_the_epoch_that_it_repeats(tmp_path: Path) -> None:
    first = Curve(tmp_path / "checkpoint")
    for epoch in (1, 2, 3):
        first.add(line(epoch, 4 - epoch))
    resumed = Curve(tmp_path / "checkpoint")
    resumed.add(line(3, 0.9))
    resumed.add(line(4, 0.5))
    assert [(one["epoch"], one["loss"]) for one in resumed.epochs] == [(1, 3), (2, 2), (3, 0.9), (4, 0.5)]
    assert Curve(tmp_path / "checkpoint").epochs == resumed.epochs
