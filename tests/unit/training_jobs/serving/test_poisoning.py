"""Invented sessions behind a best seller: a few senders gain no place, and many gain no more than their share."""

from dataclasses import replace

import pytest

from benchmarks.poison import ATTACKS, Attack, honest_log, let_through, poisoned, votes
from training_jobs.serving.knn import KnnSettings
from training_jobs.serving.sessions import Sessions

FEW = [attack for attack in ATTACKS if attack.networks(500) <= 3]
MANY = [attack for attack in ATTACKS if attack.networks(500) > 3]
# Session-kNN's whole grid is open to the tuner: no setting may bring the newest sessions back.
SETTINGS = {
    "default": KnnSettings(),
    "age counts": KnnSettings(age_decay_days=5.0),
    "fewest sessions": KnnSettings(recent_sessions=500, neighbours=100),
    "most sessions": KnnSettings(recent_sessions=5000, neighbours=500, near_decay=1.0),
}


@pytest.fixture(scope="module")
def honest() -> Sessions:
    """Twenty thousand sessions, of which 8,000 contain the best seller."""
    return honest_log(20_000, seed=1)


@pytest.mark.parametrize("invented", [50, 200, 500])
@pytest.mark.parametrize("attack", FEW, ids=lambda attack: attack.name)
def test_what_the_cap_lets_through_is_below_two_votes_in_a_hundred(
    honest: Sessions, attack: Attack, invented: int
) -> None:
    share, _, voted = votes(poisoned(honest, attack, let_through(attack, invented)))
    assert share < 0.02
    assert voted > 200


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("attack", MANY, ids=lambda attack: attack.name)
def test_a_network_per_invented_session_gains_its_share_of_the_recent_days_and_evicts_nobody(
    honest: Sessions, attack: Attack, settings: str
) -> None:
    share, _, voted = votes(poisoned(honest, attack, 200), SETTINGS[settings])
    # 200 of the 570 sessions of a day with the best seller, and the sample holds about four days.
    assert share < 200 / (4 * 570)
    assert voted > 100


def test_a_snapshot_without_networks_is_sampled_over_its_days(honest: Sessions) -> None:
    attack = FEW[0]
    share, _, voted = votes(poisoned(replace(honest, networks=None), attack, 200))
    assert share < 200 / (4 * 570)
    assert voted > 200


def test_the_cap_knows_the_hour_of_receipt_and_not_the_stated_days() -> None:
    forged, real = (
        next(a for a in FEW if a.name == f"one network, {days} days") for days in ("forged", "14 real")
    )
    assert (let_through(forged, 500), let_through(real, 500)) == (10, 420)
