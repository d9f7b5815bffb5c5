"""The generated logs, the count of a step's work, and the benchmark at a minimal size."""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import training_speed
from benchmarks.click_logs import SIZES, Size, generate
from benchmarks.training_work import Ceilings, Counter, ceilings, step_bytes
from training_jobs.snapshot.dataset import no_content
from training_jobs.training.encoder_torch import Encoder, EncoderSettings
from training_jobs.training.fit_encoder import FitSettings, Job, fit

SMALL = Size(20_000, 1000, 3.97)
SETTINGS = EncoderSettings(dim=16, layers=2, heads=2, max_length=12)


def test_the_same_seed_makes_the_same_log_and_another_another() -> None:
    first, again, other = generate(SMALL, 0), generate(SMALL, 0), generate(SMALL, 1)
    assert np.array_equal(first.items, again.items)
    assert np.array_equal(first.offsets, again.offsets)
    assert not np.array_equal(first.items, other.items)


@pytest.mark.parametrize("size", SIZES)
def test_a_log_has_the_events_and_lengths_of_its_size(size: str) -> None:
    asked = replace(SIZES[size], events=200_000)
    log = generate(asked, 0)
    assert len(log.items) == len(log.times_ms) == log.offsets[-1] == asked.events
    assert log.lengths[:-1].min() == 2
    assert log.lengths.mean() == pytest.approx(asked.mean_length, rel=0.02)
    assert 0 <= log.items.min() <= log.items.max() < asked.items


def test_sessions_are_in_order_of_their_last_click_and_clicks_in_order_of_time() -> None:
    log = generate(SMALL, 0)
    assert (np.diff(log.ends_ms) > 0).all()
    last = np.isin(np.arange(len(log.items)), log.offsets[1:] - 1)
    assert (np.diff(log.times_ms)[~last[:-1]] > 0).all()


def test_a_log_is_the_same_shape_however_it_is_cut_into_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = generate(SMALL, 0)
    monkeypatch.setattr("benchmarks.click_logs._PART_EVENTS", 3)
    parts = generate(replace(SMALL, events=2000), 0)
    assert np.array_equal(parts.offsets[:-1], whole.offsets[: len(parts)])
    assert np.array_equal(parts.ends_ms, whole.ends_ms[: len(parts)])


def test_popularity_falls_and_what_follows_an_item_can_be_learnt() -> None:
    log = generate(SMALL, 0)
    counts = np.sort(np.bincount(log.items, minlength=SMALL.items))[::-1]
    assert counts[:100].mean() > 5 * counts[-500:].mean()
    followers: dict[int, list[int]] = {}
    for row in range(len(log)):
        for before, after in pairwise(log.session(row).tolist()):
            followers.setdefault(before, []).append(after)
    most = max(followers.values(), key=len)
    _, times = np.unique(most, return_counts=True)
    assert np.sort(times)[-3:].sum() > 0.4 * len(most)


def one_step(negatives: int = 30) -> tuple[Counter, Encoder, int]:
    """Run one step of `fit`, with torch's own count of its products."""
    torch.manual_seed(0)
    encoder = Encoder(1000, SETTINGS, no_content(1000))
    counter = Counter(encoder)
    log = generate(Size(400, 1000, 6.0), 0)
    with FlopCounterMode(display=False) as counted:
        plan = FitSettings(epochs=1, batch_events=10**6, negatives=negatives)
        fit(encoder, log, plan, Job(), "learn", on_step=lambda events, _: counter.step(events))
    return counter, encoder, counted.get_total_flops()


@pytest.mark.parametrize("negatives", [30, 2000])
def test_the_flops_counted_are_those_torch_counts(negatives: int) -> None:
    counter, _, counted = one_step(negatives)
    assert counter.work.flops == counted > 0


def test_the_positions_counted_are_those_predicted() -> None:
    work = one_step()[0].work
    log = generate(Size(400, 1000, 6.0), 0)
    assert work.positions == int((log.lengths - 1).sum()) <= work.padded


def test_the_bytes_of_a_step_grow_with_its_candidates_and_not_with_the_catalogue() -> None:
    few, many = (Encoder(items, SETTINGS, no_content(items)) for items in (100, 10_100))
    assert step_bytes(many, 50) == step_bytes(few, 50)
    assert step_bytes(few, 51) - step_bytes(few, 50) == SETTINGS.dim * 4 * 14


def test_ceilings_are_rates_of_this_device() -> None:
    top = ceilings(torch.device("cpu"), size=64, copied_bytes=2**20)
    assert top.flops_per_s > 0
    assert top.bytes_per_s > 0


def test_a_line_for_each_batch_size_says_what_was_reached_of_the_ceilings(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(training_speed, "PROFILED_STEPS", 1)
    monkeypatch.setattr(training_speed, "ceilings", lambda _: Ceilings(1e11, 1e10, "a product", "a copy"))
    arguments = ["--device", "cpu", "--events", "3000", "--items", "200", "--batch-events", "64", "128"]
    assert training_speed.main([*arguments, "--seconds", "0.05", "--warm-up-seconds", "0"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["batch_events"] for row in rows] == [64, 128]
    for row in rows:
        assert row["benchmark"] == "training_speed"
        assert row["device"] == "cpu"
        assert row["log"]["events"] == 3000
        assert 0 < row["events_per_s"] < row["events_per_s_at_ceilings"]
        assert 0 < row["milliseconds_to_batch"] < row["milliseconds_per_step"]
        assert row["steps"] * row["milliseconds_per_step"] >= 50
        assert row["warm_up_steps"] == training_speed.WARM_UP_STEPS
        assert sum(row["operations"].values()) <= 1.001
        assert row["loss_last"] < row["loss_first"] + 1


def test_a_gpu_that_is_not_there_is_said_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert training_speed.main(["--device", "cuda"]) == 1
    assert "no GPU" in capsys.readouterr().err
