"""Where items without a click are put: near clicked items of like prices, and of like embeddings, if these say anything."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.unit.training_jobs import shop
from training_jobs.serving.sessions import Sessions
from training_jobs.snapshot.dataset import ItemContent, no_content, price_lists
from training_jobs.training import unclicked
from training_jobs.training.encoder_torch import Encoder, EncoderSettings
from training_jobs.training.unclicked import Shares, place_unclicked
from training_jobs.training.warm_start import warm_start

SETTINGS = EncoderSettings(dim=16, layers=1, heads=2)


def vectors(encoder: Encoder) -> NDArray[np.float32]:
    encoder.eval()
    with torch.no_grad():
        return encoder.all_item_vectors().numpy()


def two_worlds() -> Sessions:
    """Return sessions of the items 0-9 and of 10-19, which no session connects. Item 20 has no click."""
    rng = np.random.default_rng(0)
    return shop.packed([(rng.integers(0, 10, 5) + 10 * (at % 2)).tolist() for at in range(200)])


def priced(tokens: int) -> tuple[Encoder, ItemContent, np.ndarray]:
    """Make the first world cheap and the other dear, as item 20 is. With one token, only prices tell them apart."""
    sessions = two_worlds()
    prices = np.array([*([1.0] * 10), *([90.0] * 10), 91.0])
    lists = price_lists(range(21), ["all"] * 21, [None] * 21, prices)
    content = replace(shop.content_of([*([0] * 10), *([tokens - 1] * 11)]), by_price=lists)
    encoder = Encoder(21, SETTINGS, content)
    warm_start(encoder, sessions, content, seed=0)
    return encoder, content, sessions.clicks(21)


def test_an_item_without_a_click_moves_to_those_of_its_category_and_price() -> None:
    encoder, content, clicks = priced(tokens=1)
    old = vectors(encoder)
    new, shares = place_unclicked(encoder, old, clicks, content)
    assert shares.by_price > 0
    assert np.array_equal(new[:20], old[:20])
    assert (new[20] @ new[10:20].T).mean() > (old[20] @ old[10:20].T).mean() + 0.1
    assert np.linalg.norm(new[20]) <= 1.0001


def test_neighbors_that_say_less_than_the_content_move_nothing() -> None:
    encoder, content, clicks = priced(tokens=2)
    mixed = np.random.default_rng(1).permutation(21).astype(np.int32)
    content = replace(content, by_price=replace(content.by_price, items=mixed))
    old = vectors(encoder)
    new, shares = place_unclicked(encoder, old, clicks, content)
    assert shares == Shares()
    assert np.allclose(new, old)


def test_without_lists_by_price_nothing_moves() -> None:
    encoder = Encoder(5, SETTINGS, no_content(5))
    old = vectors(encoder)
    assert place_unclicked(encoder, old, np.array([1, 1, 1, 1, 0]), no_content(5))[0] is old


def pictured(noise: float, common: float = 0.0) -> tuple[Encoder, ItemContent, NDArray[np.int64]]:
    """Return two worlds that only their embeddings tell apart: a direction each, one that all have in common, and noise."""
    rng = np.random.default_rng(2)
    worlds, shared = rng.normal(size=(2, 12)), rng.normal(size=12)
    of_item = worlds[[0] * 10 + [1] * 10 + [1]] + common * shared + noise * rng.normal(size=(21, 12))
    unit = (of_item / np.linalg.norm(of_item, axis=1, keepdims=True)).astype(np.float32)
    content = replace(shop.content_of([0] * 21), embeddings=unit)
    sessions = two_worlds()
    encoder = Encoder(21, SETTINGS, content)
    warm_start(encoder, sessions, content, seed=0)
    return encoder, content, sessions.clicks(21)


@pytest.mark.parametrize("common", [0.0, 10.0])
def test_an_item_without_a_click_moves_to_those_with_like_embeddings(common: float) -> None:
    encoder, content, clicks = pictured(noise=0.3, common=common)
    old = vectors(encoder)
    new, shares = place_unclicked(encoder, old, clicks, content)
    assert shares.by_price == 0
    assert shares.by_embedding > 0
    assert np.array_equal(new[:20], old[:20])
    assert (new[20] @ new[10:20].T).mean() > (new[20] @ new[:10].T).mean() + 0.3
    assert np.linalg.norm(new[20]) <= 1.0001


def test_embeddings_that_have_nothing_to_do_with_the_clicks_move_nothing() -> None:
    encoder, content, clicks = priced(tokens=2)
    content = replace(content, embeddings=pictured(noise=100.0)[1].embeddings)
    content = replace(content, by_price=no_content(21).by_price)
    old = vectors(encoder)
    new, shares = place_unclicked(encoder, old, clicks, content)
    assert shares == Shares()
    assert new is old


def test_an_item_without_content_is_served_by_its_embedding_alone() -> None:
    _, content, clicks = pictured(noise=0.3)
    content = replace(no_content(21), embeddings=content.embeddings)
    encoder = Encoder(21, SETTINGS, content)
    warm_start(encoder, two_worlds(), content, seed=0)
    old = vectors(encoder).copy()
    old[20] = 0.0
    new, shares = place_unclicked(encoder, old, clicks, content)
    assert shares.by_embedding > 0
    assert np.linalg.norm(new[20]) == pytest.approx(1.0, abs=1e-4)
    assert (new[20] @ new[10:20].T).mean() > (new[20] @ new[:10].T).mean() + 0.3


def test_embeddings_that_say_nothing_move_no_item_with_content_for_the_sake_of_those_without() -> None:
    rng = np.random.default_rng(0)
    # All vectors have a direction in common, so any neighbor is better than no vector.
    learnt = rng.normal(size=(400, 16)) + 0.5
    learnt = (learnt / np.linalg.norm(learnt, axis=1, keepdims=True)).astype(np.float32)
    by_content = learnt + rng.normal(size=learnt.shape).astype(np.float32) * 0.15
    by_content[::2] = 0.0
    clicks = rng.integers(1, 20, 400)
    clicks[:100] = 0
    encoder = Encoder(400, SETTINGS, no_content(400))
    encoder.content_vectors = lambda: torch.from_numpy(by_content)  # type: ignore[method-assign]
    given = learnt.copy()
    given[:100] = by_content[:100]
    content = replace(no_content(400), embeddings=rng.normal(size=(400, 8)).astype(np.float32))
    new, shares = place_unclicked(encoder, given, clicks, content)
    assert shares == Shares()
    assert np.array_equal(new[1::2], given[1::2])
    assert np.allclose(np.linalg.norm(new[:100:2], axis=1), 1.0, atol=1e-4)


def test_many_items_without_a_click_are_compared_with_fewer_clicked_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encoder, content, clicks = pictured(noise=0.3)
    compared = list[int]()

    def centred(embeddings: NDArray[np.float32], centre: NDArray[np.float32]) -> torch.Tensor:
        compared.append(len(embeddings))
        return torch.from_numpy(embeddings - centre)

    monkeypatch.setattr(unclicked, "_centred", centred)
    monkeypatch.setattr(unclicked, "_JUDGES", 4)
    for pairs, references in ((100, 20), (60, 12)):
        monkeypatch.setattr(unclicked, "_PAIRS", pairs)
        compared.clear()
        place_unclicked(encoder, vectors(encoder), clicks, content)
        # One item has no click.
        assert compared == [references, 5]


def test_an_item_without_an_embedding_stays_where_its_content_puts_it() -> None:
    encoder, content, clicks = pictured(noise=0.3)
    content.embeddings[20] = 0.0
    old = vectors(encoder)
    assert np.array_equal(place_unclicked(encoder, old, clicks, content)[0], old)
