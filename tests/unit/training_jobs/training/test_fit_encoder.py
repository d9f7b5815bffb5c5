"""The training loop: deterministic, resumable, within its time."""

import math
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.training_jobs import shop
from tests.unit.training_jobs.encoders import hidden_of
from training_jobs.serving.sessions import Sessions
from training_jobs.snapshot.dataset import DataError, no_content
from training_jobs.training.encoder_torch import Encoder, EncoderSettings
from training_jobs.training.fit_encoder import (
    Epoch,
    FitSettings,
    Job,
    _multiplies_bfloat16,
    fit,
)
from training_jobs.training.shards import Shard, batches, windows

PLAN = FitSettings(epochs=3, batch_events=32, negatives=20, learning_rate=1e-2)


class Killed(Exception):
    pass


def new_encoder(seed: int = 0) -> Encoder:
    torch.manual_seed(seed)
    return Encoder(
        shop.ITEMS, EncoderSettings(dim=8, layers=1, heads=2, max_length=5), no_content(shop.ITEMS)
    )


def weights_after(encoder: Encoder) -> list[bytes]:
    return [value.numpy().tobytes() for value in encoder.state_dict().values()]


def trained(seed: int = 0, plan: FitSettings = PLAN) -> list[bytes]:
    encoder = new_encoder()
    fit(encoder, shop.walks(60), plan, Job(seed), "learn")
    return weights_after(encoder)


def test_the_same_seed_gives_the_same_model_and_another_gives_another() -> None:
    assert trained(0) == trained(0)
    assert trained(0) != trained(1)


def test_where_an_item_is_clicked_often_its_gradient_is_the_same_however_many_threads_there_are() -> None:
    # Sums that threads share come out in another order each time; torch's deterministic ones do not.
    rows = torch.from_numpy(np.random.default_rng(0).integers(0, 50, (256, 6)))
    encoder = Encoder(50, EncoderSettings(max_length=6), no_content(50))
    threads = torch.get_num_threads()

    def gradient(deterministic: bool) -> bytes:
        torch.manual_seed(0)
        torch.use_deterministic_algorithms(deterministic)
        encoder.zero_grad()
        hidden_of(encoder, rows).sum().backward()
        assert encoder.item.weight.grad is not None
        return encoder.item.weight.grad.numpy().tobytes()

    torch.set_num_threads(2)
    try:
        assert gradient(False) == gradient(True)
    finally:
        torch.use_deterministic_algorithms(False)
        torch.set_num_threads(threads)


def test_each_step_says_what_it_predicted() -> None:
    steps, epochs = list[int](), list[Epoch]()
    sessions = shop.walks(60)
    fit(
        new_encoder(),
        sessions,
        PLAN,
        Job(),
        "learn",
        on_step=lambda events, loss: steps.append(events if math.isfinite(float(loss)) else 0),
        on_epoch=epochs.append,
    )
    assert sum(steps) == sum(epoch.events for epoch in epochs)
    assert np.mean(steps) == pytest.approx(PLAN.batch_events, rel=0.3)


def test_the_loss_comes_down() -> None:
    losses: list[float] = []
    fit(new_encoder(), shop.walks(60), PLAN, Job(), "learn", on_epoch=lambda epoch: losses.append(epoch.loss))
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize("last_epoch", [2, 3])
def test_a_job_killed_while_it_reports_an_epoch_reports_it_again_and_ends_bit_for_bit_as_one_that_was_not(
    tmp_path: Path, last_epoch: int
) -> None:
    def kill(epoch: Epoch) -> None:
        if epoch.epoch == last_epoch:
            raise Killed

    with pytest.raises(Killed):
        fit(new_encoder(), shop.walks(60), PLAN, Job(checkpoint=tmp_path), "learn", on_epoch=kill)
    resumed, seen = new_encoder(seed=99), list[int]()
    fit(
        resumed,
        shop.walks(60),
        PLAN,
        Job(checkpoint=tmp_path),
        "learn",
        on_epoch=lambda e: seen.append(e.epoch),
    )
    assert seen == list(range(last_epoch, PLAN.epochs + 1))
    assert weights_after(resumed) == trained()


def test_a_job_killed_within_an_epoch_does_that_epoch_again(tmp_path: Path) -> None:
    ticks = iter(range(6))

    def clock() -> float:
        try:
            return float(next(ticks))
        except StopIteration:
            raise Killed from None

    with pytest.raises(Killed):
        fit(new_encoder(), shop.walks(60), PLAN, Job(checkpoint=tmp_path, clock=clock), "learn")
    assert (tmp_path / "learn.pt").exists()
    resumed = new_encoder(seed=99)
    fit(resumed, shop.walks(60), PLAN, Job(checkpoint=tmp_path), "learn")
    assert weights_after(resumed) == trained()


def test_a_checkpoint_that_was_not_copied_whole_counts_as_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit(new_encoder(), shop.walks(60), PLAN, Job(checkpoint=tmp_path), "learn")
    whole = (tmp_path / "learn.pt").read_bytes()
    for broken in (whole[: len(whole) // 2], b"", b"something else"):
        (tmp_path / "learn.pt").write_bytes(broken)
        encoder = new_encoder()
        fit(encoder, shop.walks(60), PLAN, Job(checkpoint=tmp_path), "learn")
        assert weights_after(encoder) == trained()
        assert "cannot be read, starting learn anew" in capsys.readouterr().err


class Clock:
    """Each look at it takes longer than the one before."""

    def __init__(self, tick_s: float, growth: float = 1.0) -> None:
        self.now_s, self.tick_s, self.growth = 0.0, tick_s, growth

    def __call__(self) -> float:
        self.now_s += self.tick_s
        self.tick_s *= self.growth
        return self.now_s


def test_a_deadline_is_kept_with_as_many_epochs_as_fit() -> None:
    clock, seen = Clock(1.0), list[Epoch]()
    many = FitSettings(epochs=1000, batch_events=224, negatives=20)
    ran = fit(
        new_encoder(), shop.walks(50), many, Job(deadline=30.0, clock=clock), "learn", on_epoch=seen.append
    )
    assert ran == len(seen) == seen[-1].epochs
    assert 20.0 < clock.now_s <= 31.0


def test_a_deadline_is_kept_where_epochs_become_slower() -> None:
    clock, seen = Clock(1.0, growth=1.05), list[Epoch]()
    many = FitSettings(epochs=1000, batch_events=224, negatives=20)
    fit(new_encoder(), shop.walks(50), many, Job(deadline=60.0, clock=clock), "learn", on_epoch=seen.append)
    assert len(seen) >= 3
    assert clock.now_s <= 60.0 + 2 * max(epoch.seconds for epoch in seen)


def test_one_epoch_is_run_however_little_time_there_is() -> None:
    assert fit(new_encoder(), shop.walks(50), PLAN, Job(deadline=time.monotonic()), "learn") == 1


def test_a_loss_that_is_not_finite_stops_the_job() -> None:
    wild = FitSettings(epochs=3, learning_rate=1e30, max_gradient_norm=1e30)
    with pytest.raises(ArithmeticError, match="lower the learning rate"):
        fit(new_encoder(), shop.walks(60), wild, Job(), "learn")


def test_sessions_of_one_item_teach_nothing() -> None:
    with pytest.raises(DataError, match="two items"):
        fit(new_encoder(), shop.packed([[1], [2]]), PLAN, Job(), "learn")


def test_old_sessions_weigh_less_with_recency() -> None:
    # Yesterday 0 led to 1; a month ago it led to 2, three times as often.
    month_ms = 30 * 86_400_000
    new, old = shop.packed([[0, 1]] * 30), shop.packed([[0, 2]] * 90)
    both = Sessions(
        np.r_[old.items, new.items],
        np.r_[old.offsets, old.offsets[-1] + new.offsets[1:]],
        np.r_[old.times_ms, new.times_ms + month_ms],
    )

    def preferred(recency_days: float) -> int:
        encoder = new_encoder()
        plan = FitSettings(epochs=10, learning_rate=1e-2, recency_days=recency_days, batch_events=16)
        fit(encoder, both, plan, Job(), "learn")
        with torch.no_grad():
            hidden = hidden_of(encoder, torch.tensor([[0]]))[0, 0]
            return int((hidden @ encoder.all_item_vectors().T)[1:3].argmax()) + 1

    assert (preferred(0.0), preferred(3.0)) == (2, 1)


def test_every_click_but_a_first_is_predicted_exactly_once() -> None:
    sessions = shop.packed([list(range(length)) for length in (1, 2, 5, 6, 7, 11, 12, 30)])
    start, length, _ = windows(sessions.offsets, 5)
    predicted = [at for s, n in zip(start, length, strict=True) for at in range(s + 1, s + n)]
    firsts = set(sessions.offsets[:-1].tolist())
    assert sorted(predicted) == [at for at in range(len(sessions.items)) if at not in firsts]
    assert length.max() <= 6


@given(
    length=st.lists(st.integers(2, 51), min_size=1, max_size=400).map(np.array),
    batch_events=st.integers(1, 200),
)
def test_every_window_is_in_exactly_one_batch_and_batches_predict_about_as_much(
    length: np.ndarray, batch_events: int
) -> None:
    cut = list(batches(length, batch_events, np.random.default_rng(1)))
    assert sorted(np.concatenate(cut).tolist()) == list(range(len(length)))
    for rows in cut:
        assert (length[rows] - 1).sum() <= 1.5 * batch_events or len(rows) == 1


def test_batches_are_of_like_length_and_those_of_one_length_are_of_one_size() -> None:
    length = np.random.default_rng(0).geometric(0.35, 20_000).clip(max=50) + 1
    cut = list(batches(length, 200, np.random.default_rng(1)))
    padded = sum(len(rows) * (length[rows].max() - 1) for rows in cut)
    assert padded < 1.1 * (length - 1).sum()
    sizes = Counter(len(rows) for rows in cut if set(length[rows]) == {3})
    assert sizes.most_common(1)[0][0] == 100
    assert len(sizes) <= 3


def test_a_batch_holds_the_clicks_of_its_windows_and_what_follows_each() -> None:
    sessions = shop.packed([[1, 2], [3, 4, 5], [6, 7, 8, 9, 10, 11, 12]])
    start, length, _ = windows(sessions.offsets, 5)
    parts = (sessions.items, start, length, np.array([1, 2, 3, 4], np.float32))
    items, begin, size, weights = (torch.from_numpy(part) for part in parts)
    packed = Shard(items, begin, size, weights, length)
    rows = np.array([3, 0, 2])
    inputs, predicted, target, weight = packed.batch(torch.from_numpy(rows), 5, 1 + 1 + 5)
    assert inputs.tolist() == [[11, 12, 11, 11, 11], [1, 2, 1, 1, 1], [6, 7, 8, 9, 10]]
    assert inputs.flatten()[predicted].tolist() == [11, 1, 6, 7, 8, 9, 10]
    assert target.tolist() == [12, 2, 7, 8, 9, 10, 11]
    assert weight.tolist() == [4, 1, 3, 3, 3, 3, 3]


@pytest.mark.parametrize("has", [True, False])
def test_a_gpu_without_products_of_bfloat16_is_not_made_to_imitate_them(
    monkeypatch: pytest.MonkeyPatch, has: bool
) -> None:
    def supported(including_emulation: bool = True) -> bool:
        return has or including_emulation

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert _multiplies_bfloat16(torch.device("cuda")) is has
