"""Where item vectors stand before the first step, and where new items are put later."""

import numpy as np
import pytest
import torch

from tests.unit.training_jobs import shop
from training_jobs.snapshot.dataset import no_content
from training_jobs.training.encoder_torch import Encoder, EncoderSettings
from training_jobs.training.job import encoder_weights
from training_jobs.training.warm_start import co_occurrence, place_new_items, warm_start

SETTINGS = EncoderSettings(dim=16, layers=1, heads=2)


def vectors(encoder: Encoder) -> torch.Tensor:
    encoder.eval()
    with torch.no_grad():
        return encoder.all_item_vectors()


def test_items_viewed_together_start_side_by_side() -> None:
    # Two worlds, 0-9 and 10-19, that no session connects.
    rng = np.random.default_rng(0)
    lists = [(rng.integers(0, 10, 5) + 10 * (at % 2)).tolist() for at in range(200)]
    encoder = Encoder(20, SETTINGS, no_content(20))
    warm_start(encoder, shop.packed(lists), no_content(20), seed=0)
    alike = vectors(encoder) @ vectors(encoder).T
    assert alike[:10, :10].mean() > alike[:10, 10:].abs().mean() + 0.5


def test_of_a_long_log_every_nth_session_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    lists = [(rng.integers(0, 10, 5) + 10 * (at % 2)).tolist() for at in range(200)]
    monkeypatch.setattr("training_jobs.training.warm_start._EVENTS", 350)
    found = co_occurrence(shop.packed(lists), 20)
    monkeypatch.undo()
    for mine, expected in zip(found, co_occurrence(shop.packed(lists[::3]), 20), strict=True):
        assert np.array_equal(mine, expected)


def test_an_unseen_item_with_content_starts_among_its_like() -> None:
    rng = np.random.default_rng(0)
    lists = [(rng.integers(0, 10, 5) + 10 * (at % 2)).tolist() for at in range(200)]
    content = shop.content_of([0] * 10 + [1] * 10 + [1])
    encoder = Encoder(21, SETTINGS, content)
    warm_start(encoder, shop.packed(lists), content, seed=0)
    alike = vectors(encoder)[20] @ vectors(encoder)[:20].T
    assert alike[10:].mean() > alike[:10].mean() + 0.5
    assert torch.isfinite(vectors(encoder)).all()


def test_an_unseen_item_without_content_starts_in_a_direction_of_its_own_and_is_not_served() -> None:
    encoder = Encoder(5, SETTINGS, no_content(5))
    sessions = shop.packed([[0, 1, 2, 3]] * 30)
    warm_start(encoder, sessions, no_content(5), seed=0)
    assert torch.allclose(vectors(encoder).norm(dim=1), torch.ones(5), atol=1e-5)
    served = encoder_weights(encoder, np.array([True, True, True, True, False])).vectors
    assert not served[4].any()
    assert served[:4].any(axis=1).all()


def test_the_same_seed_starts_alike() -> None:
    first, second = (Encoder(shop.ITEMS, SETTINGS, no_content(shop.ITEMS)) for _ in range(2))
    for encoder in (first, second):
        warm_start(encoder, shop.walks(), no_content(shop.ITEMS), seed=7)
    assert torch.equal(vectors(first), vectors(second))


def test_an_item_that_appears_later_is_put_beside_what_was_viewed_with_it() -> None:
    rng = np.random.default_rng(0)
    known = shop.packed([(rng.integers(0, 10, 5) + 10 * (at % 2)).tolist() for at in range(200)])
    later = shop.packed([[3, 20, 4], [5, 20, 6], *([[11, 12]] * 5)])
    encoder = Encoder(22, SETTINGS, no_content(22))
    warm_start(encoder, known, no_content(22), seed=0)
    old = vectors(encoder).clone()
    place_new_items(encoder, known, later, no_content(22), seed=0)
    new = vectors(encoder)
    assert torch.allclose(new[:20], old[:20], atol=1e-6)
    assert torch.allclose(new[21], old[21], atol=1e-6)
    assert (new[20] @ new[:10].T).mean() > (new[20] @ new[10:20].T).mean() + 0.5
