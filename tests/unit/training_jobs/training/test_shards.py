"""Training on shards: every session once per epoch, as good as on all sessions at once, resumable, within its time."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.unit.training_jobs import shop
from training_jobs.snapshot.dataset import DataError, no_content
from training_jobs.training import fit_encoder
from training_jobs.training.encoder_torch import Encoder, EncoderSettings
from training_jobs.training.fit_encoder import Epoch, FitSettings, Job, fit
from training_jobs.training.shards import Shards

CPU = torch.device("cpu")
PLAN = FitSettings(epochs=3, batch_events=32, negatives=20, learning_rate=1e-2)
LOG = shop.walks(200)
SHARD = len(LOG.items) // 4 + 1  # four shards


class Killed(Exception):
    pass


def new_encoder(seed: int = 0) -> Encoder:
    torch.manual_seed(seed)
    settings = EncoderSettings(dim=8, layers=1, heads=2, max_length=5)
    return Encoder(shop.ITEMS, settings, no_content(shop.ITEMS))


def weights_after(encoder: Encoder) -> list[bytes]:
    return [value.numpy().tobytes() for value in encoder.state_dict().values()]


def trained(**settings: int) -> tuple[list[bytes], list[float]]:
    encoder, losses = new_encoder(), list[float]()
    fit(encoder, LOG, PLAN, Job(), "learn", on_epoch=lambda epoch: losses.append(epoch.loss), **settings)
    return weights_after(encoder), losses


@pytest.mark.parametrize(("workers", "events"), [(1, SHARD), (2, SHARD), (3, 100), (4, 10**6)])
def test_every_session_is_in_exactly_one_shard_of_an_epoch(workers: int, events: int) -> None:
    shards = Shards(LOG, 5, 0.0, workers, events)
    of_worker = [shards.of_epoch(np.random.default_rng(1), worker) for worker in range(workers)]
    assert {len(own) for own in of_worker} == {shards.rounds}
    blocks = np.concatenate([block for own in of_worker for block in own])
    sessions = np.concatenate([np.arange(first, last) for first, last in blocks])
    assert sorted(sessions.tolist()) == list(range(len(LOG)))


def test_shards_are_of_about_the_same_size_and_different_in_each_epoch() -> None:
    shards = Shards(LOG, 5, 0.0, 1, SHARD)
    rng = np.random.default_rng(1)
    first, second = shards.of_epoch(rng, 0), shards.of_epoch(rng, 0)
    sizes = [len(shards.load(blocks, CPU).items) for blocks in first]
    assert len(sizes) == 4
    assert max(sizes) < 1.25 * min(sizes)
    assert [blocks.tolist() for blocks in first] != [blocks.tolist() for blocks in second]


def test_a_shard_has_the_windows_of_its_sessions() -> None:
    shards = Shards(LOG, 5, 0.0, 1, SHARD)
    blocks = np.array([[3, 5], [9, 10]])
    shard = shards.load(blocks, CPU)
    expected = np.concatenate([LOG.session(row) for row in (3, 4, 9)])
    assert shard.items.tolist() == expected.tolist()
    assert int((shard.length - 1).sum()) == len(expected) - 3


def test_sessions_that_fit_into_one_shard_give_the_model_of_all_sessions_at_once() -> None:
    assert trained(shard_events=len(LOG.items))[0] == trained()[0]


def test_shards_teach_about_as_much_as_all_sessions_at_once() -> None:
    sharded, whole = trained(shard_events=SHARD)[1], trained()[1]
    assert sharded[-1] < 0.9 * sharded[0]
    assert sharded[-1] == pytest.approx(whole[-1], rel=0.05)


def test_a_job_killed_within_an_epoch_resumes_at_the_shard(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(fit_encoder, "_CHECKPOINT_SECONDS", -1e9)
    steps = list[int]()

    def kill(events: int, _: object) -> None:
        steps.append(events)
        if sum(steps) > 1.6 * (len(LOG.items) - len(LOG)):
            raise Killed

    with pytest.raises(Killed):
        fit(
            new_encoder(),
            LOG,
            PLAN,
            Job(checkpoint=tmp_path),
            "learn",
            shard_events=SHARD,
            on_step=kill,
        )
    resumed, epochs = new_encoder(seed=99), list[Epoch]()
    fit(
        resumed,
        LOG,
        PLAN,
        Job(checkpoint=tmp_path),
        "learn",
        shard_events=SHARD,
        on_epoch=epochs.append,
    )
    assert weights_after(resumed) == trained(shard_events=SHARD)[0]
    assert [epoch.epoch for epoch in epochs] == [2, 3]
    assert epochs[0].events < 0.6 * epochs[1].events  # two of four shards were left


def test_a_deadline_cuts_an_epoch_after_a_shard(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s, rates, epochs = [0.0], list[float](), list[Epoch]()
    make_rate = fit_encoder._rate

    def rate(settings: FitSettings, peak: float, progress: float) -> float:
        rates.append(make_rate(settings, peak, progress))
        return rates[-1]

    def step(*_: object) -> None:
        now_s[0] += 1.0

    monkeypatch.setattr(fit_encoder, "_rate", rate)
    steps_per_shard = (len(LOG.items) - len(LOG)) / 4 / PLAN.batch_events
    job = Job(deadline=2.6 * steps_per_shard, clock=lambda: now_s[0])
    done = fit(
        new_encoder(), LOG, PLAN, job, "learn", shard_events=SHARD, on_step=step, on_epoch=epochs.append
    )
    assert 0.25 <= done <= 0.75
    assert now_s[0] <= 1.3 * job.deadline
    assert [epoch.epoch for epoch in epochs] == [1]
    assert rates[-1] < 0.05 * max(rates)


def test_fewer_sessions_than_processes_are_refused() -> None:
    with pytest.raises(DataError, match="choose an instance type with one GPU"):
        Shards(shop.packed([[1, 2]]), 5, 0.0, 2).of_epoch(np.random.default_rng(0), 0)
