"""A target's weight by its kind and its price: it changes the loss of exactly those targets, and nothing where it is 1."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.training_jobs import shop
from training_jobs.gate.measure import measure
from training_jobs.serving.contract import EVENT_STRENGTHS
from training_jobs.serving.encoder_numpy import probabilities
from training_jobs.serving.sessions import Sessions
from training_jobs.snapshot.dataset import Catalogue, DataError, Dataset, no_content, prefix_cases
from training_jobs.snapshot.interactions import read_interactions
from training_jobs.training.encoder_torch import Candidates, Encoder, EncoderSettings, sampled_loss
from training_jobs.training.fit_encoder import FitSettings, Job, fit
from training_jobs.training.fit_ranker import Shortlists, fit_network
from training_jobs.training.job import JobSettings, encoder_weights, job_digest
from training_jobs.training.shards import Shards
from training_jobs.training.target_weights import PRICE_RATIO, TargetWeights, target_weights
from training_jobs.training.tune import objective

VIEW, CART, PURCHASE = EVENT_STRENGTHS.values()
CPU = torch.device("cpu")
PLAN = FitSettings(epochs=2, batch_events=32, negatives=20, learning_rate=1e-2)


def with_kinds(sessions: Sessions, seed: int = 0) -> Sessions:
    drawn = np.random.default_rng(seed).choice([VIEW, VIEW, VIEW, CART, PURCHASE], len(sessions.items))
    return replace(sessions, kinds=drawn.astype(np.uint8))


LOG = with_kinds(shop.walks(60))
PRICES = np.where(np.arange(shop.ITEMS) % 9 == 0, np.nan, 10.0 * (1 + np.arange(shop.ITEMS) % 5))


def dataset(sessions: Sessions = LOG, prices: Any = PRICES) -> Dataset:
    items = shop.ITEMS
    catalogue = None if prices is None else Catalogue(prices, np.full(items, -1, np.int64), [])
    return Dataset(sessions, [str(row) for row in range(items)], no_content(items), catalogue)


def new_encoder(items: int = shop.ITEMS) -> Encoder:
    torch.manual_seed(0)
    return Encoder(items, EncoderSettings(dim=8, layers=1, heads=2, max_length=5), no_content(items))


def trained(weights: TargetWeights | None, sessions: Sessions = LOG) -> list[bytes]:
    encoder = new_encoder()
    fit(encoder, sessions, PLAN, Job(), "learn", weights=weights)
    return [value.numpy().tobytes() for value in encoder.state_dict().values()]


def test_the_defaults_have_no_weights_whatever_the_snapshot_has() -> None:
    job = JobSettings().fit
    assert (job.cart_weight, job.purchase_weight, job.price_weight) == (1.0, 1.0, 0.0)
    assert target_weights(dataset(), 1.0, 1.0, 0.0) is None
    assert target_weights(dataset(replace(LOG, kinds=None), None), 1.0, 1.0, 0.0) is None


def test_weights_of_1_train_bit_for_bit_the_encoder_of_no_weights() -> None:
    ones = TargetWeights(np.ones(shop.ITEMS, np.float32), np.ones(PURCHASE + 1, np.float32))
    assert trained(ones) == trained(None) == trained(None, replace(LOG, kinds=None))
    assert trained(target_weights(dataset(), 4.0, 4.0, 0.0)) != trained(None)


def test_the_digest_of_a_job_depends_on_the_kinds_only_if_they_weigh() -> None:
    settings, data = JobSettings(), dataset()
    other = dataset(with_kinds(shop.walks(60), seed=1))
    assert job_digest(data, settings, "s") == job_digest(other, settings, "s")
    weights = target_weights(data, 1.0, 4.0, 0.0)
    assert job_digest(data, settings, "s", weights) != job_digest(other, settings, "s", weights)


@settings(max_examples=50, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.floats(0.01, 100.0),
    st.floats(0.01, 100.0),
    st.floats(0.0, 1.0),
    st.integers(1, 6),
)
def test_each_target_of_a_batch_has_the_weight_of_its_own_kind_and_item_and_no_other(
    seed: int, cart: float, purchase: float, price: float, max_length: int
) -> None:
    sessions = with_kinds(shop.walks(30, seed=seed % 7), seed)
    weights = target_weights(dataset(sessions), cart, purchase, price)
    shards = Shards(sessions, max_length, 0.0, weights=weights)
    plain = Shards(sessions, max_length, 0.0)
    blocks = np.array([[0, 11], [17, 30]])
    shard, unweighted = shards.load(blocks, CPU), plain.load(blocks, CPU)
    rows = np.random.default_rng(seed).permutation(len(shard.lengths))
    width, count = int(shard.lengths.max()) - 1, int((shard.lengths - 1).sum())
    inputs, predicted, target, weight = shard.batch(torch.from_numpy(rows), width, count)
    *same, ones = unweighted.batch(torch.from_numpy(rows), width, count)
    assert all(torch.equal(one, other) for one, other in zip((inputs, predicted, target), same, strict=True))
    assert ones.tolist() == [1.0] * count
    expected = []
    for row in rows:  # from the sessions themselves, window by window
        begin, end = int(shard.start[row]), int(shard.start[row]) + int(shard.lengths[row])
        parts = [sessions.between(*block) for block in blocks.tolist()]
        items = np.concatenate([part.items for part in parts])[begin + 1 : end]
        kinds = np.concatenate([part.kinds for part in parts if part.kinds is not None])[begin + 1 : end]
        of_kind = np.where(kinds == CART, cart, np.where(kinds == PURCHASE, purchase, 1.0))
        median = np.nanmedian(PRICES)
        of_item = np.where(np.isnan(PRICES), 1.0, (np.nan_to_num(PRICES, nan=1.0) / median) ** price)
        expected += (of_kind * of_item[items]).tolist()
    np.testing.assert_allclose(weight.numpy(), expected, rtol=1e-5)


def test_a_weight_multiplies_the_loss_of_its_target_alone() -> None:
    torch.manual_seed(1)
    hidden, vectors = torch.randn(4, 8), torch.randn(6, 8)
    at = torch.arange(4)
    candidates = Candidates(torch.arange(6), at[:, None], torch.tensor([4, 5, 4, 5]), torch.zeros(6))

    def loss(weight: list[float], rows: list[int]) -> float:
        own = replace(candidates, inputs=candidates.inputs[rows], targets=candidates.targets[rows])
        of = torch.arange(len(rows))
        return float(
            sampled_loss(
                hidden[rows], vectors, own, of, torch.tensor(weight), 0.1, False, exclude_current=True
            )
        )

    each = [loss([1.0], [row]) for row in range(4)]
    assert loss([1.0, 8.0, 1.0, 2.0], [0, 1, 2, 3]) == pytest.approx(
        (each[0] + 8 * each[1] + each[2] + 2 * each[3]) / 12, rel=1e-5
    )


def test_a_price_beyond_ten_times_the_median_weighs_as_ten_times_it() -> None:
    prices = np.array([10.0] * 8 + [1e6, 1e-6, np.nan, 0.0])
    data = Dataset(LOG, [], no_content(0), Catalogue(prices, np.zeros(12, np.int64), []))
    weights = target_weights(data, 1.0, 1.0, 1.0)
    assert weights is not None
    found = weights.of(np.array([0, 8, 9, 10, 11]), None)
    assert found.tolist() == pytest.approx([1.0, PRICE_RATIO, 1 / PRICE_RATIO, 1.0, 1.0])


def test_the_currency_does_not_change_the_weights() -> None:
    euro, yen = (target_weights(dataset(prices=PRICES * rate), 1.0, 1.0, 0.5) for rate in (1.0, 160.0))
    assert euro is not None
    assert yen is not None
    assert euro.of_item is not None
    assert euro.of_item.tolist() == pytest.approx(yen.of_item.tolist() if yen.of_item is not None else [])


@pytest.mark.parametrize("weights", [(2.0, 1.0), (1.0, 2.0)])
def test_a_snapshot_without_event_names_cannot_weigh_them(weights: tuple[float, float]) -> None:
    with pytest.raises(DataError, match="no column EVENT_NAME: export again, or set both to 1"):
        target_weights(dataset(replace(LOG, kinds=None)), *weights, 0.0)


@pytest.mark.parametrize("prices", [None, np.full(shop.ITEMS, np.nan), np.zeros(shop.ITEMS)])
def test_a_snapshot_without_a_price_cannot_weigh_by_prices(prices: Any) -> None:
    with pytest.raises(DataError, match="no item of the snapshot has a price: send `price`"):
        target_weights(dataset(prices=prices), 1.0, 1.0, 0.5)


def forked(sessions: int = 240) -> Sessions:
    """Return sessions in which two of three viewers of item 0 go on to item 1, and one buys item 2."""
    log = shop.packed([[3, 0, 2 if number % 3 == 0 else 1] for number in range(sessions)])
    return replace(log, kinds=np.where(log.items == 2, PURCHASE, VIEW).astype(np.uint8))


@pytest.mark.parametrize(("weight", "best"), [(1.0, 1), (8.0, 2)])
def test_what_is_bought_comes_first_where_a_purchase_weighs_more(weight: float, best: int) -> None:
    log = forked()
    data = Dataset(log, list("0123"), no_content(4))
    encoder = new_encoder(4)
    plan = replace(PLAN, epochs=15)
    fit(encoder, log, plan, Job(), "learn", weights=target_weights(data, 1.0, weight, 0.0))
    learnt = encoder_weights(encoder)
    cases = prefix_cases(log.take(np.array([0])))
    assert cases.kinds is not None
    assert cases.kinds.tolist() == [VIEW, PURCHASE]
    assert cases.take(np.array([1])).kinds.tolist() == [PURCHASE]  # type: ignore[union-attr]
    shown = measure("encoder", lambda prefixes: probabilities(learnt, prefixes), cases.take(np.array([1])))
    scores = probabilities(learnt, [cases.prefix(1)])[0]
    assert int(np.argmax(np.where(np.isin(np.arange(4), [0, 3]), -np.inf, scores))) == best
    assert (shown.rank[0] == 1) == (best == 2)


def test_settings_are_chosen_by_the_weighted_mean_over_cases() -> None:
    rank = np.array([1, 2, 40])
    assert objective(rank) == pytest.approx((1.5 + 1.0) / 3)
    assert objective(rank, np.array([1, 1, 1], np.float32)) == pytest.approx(objective(rank))
    assert objective(rank, np.array([1, 4, 5], np.float32)) == pytest.approx((1.5 + 4 * 1.0) / 10)


def lists(weight: Any) -> Shortlists:
    """Return cases whose features are equal: two of three viewed the first item, one bought the second."""
    n, width = 96, 2
    candidate = np.tile(np.eye(2, 3, dtype=np.float32), (n, 1, 1))
    zero = np.zeros((n, width), np.float32)
    target = (np.arange(n) % 3 == 0).astype(np.int64)
    return Shortlists(candidate, np.zeros((n, 2), np.float32), zero, zero, target, target + 1, weight)


def test_the_ranker_s_loss_has_the_weights_of_its_cases() -> None:
    bought = np.arange(96) % 3 == 0
    rows = np.arange(96)

    def first(weight: Any) -> int:
        of = lists(weight)
        return int(np.argmax(fit_network(of, rows, 0)(of.candidate[0], of.context[0])))

    assert first(None) == 0
    assert first(np.ones(96, np.float32)) == 0
    assert first(np.where(bought, 8.0, 1.0).astype(np.float32)) == 1


def test_kinds_are_read_and_a_snapshot_without_their_column_is_read_too(tmp_path: Path) -> None:
    names = [*EVENT_STRENGTHS, "unknown"]
    rows = [shop.row(1, at, f"sku-{at}", shop.START_MS + at) | {"EVENT_NAME": names[at]} for at in range(4)]
    found, _ = read_interactions(shop.write(tmp_path / "new", rows))
    assert found.kinds is not None
    assert found.kinds.dtype == np.uint8
    assert found.kinds.tolist() == [VIEW, CART, PURCHASE, 0]
    old = [{name: value for name, value in one.items() if name != "EVENT_NAME"} for one in rows]
    read, _ = read_interactions(shop.write(tmp_path / "old", old))
    assert read.kinds is None
    assert read.items.tolist() == found.items.tolist()
    assert prefix_cases(read).kinds is None
