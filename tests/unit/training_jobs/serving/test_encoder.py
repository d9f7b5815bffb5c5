"""The endpoint's encoder, in numpy and compiled, is the trained one in torch."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.unit.training_jobs import shop
from tests.unit.training_jobs.encoders import hidden_of
from training_jobs.serving.encoder_numpy import (
    EncoderWeights,
    encode,
    load_weights,
    probabilities,
    save_weights,
)
from training_jobs.serving.kernels.interface import Kernels
from training_jobs.serving.sessions import Int32
from training_jobs.snapshot.dataset import ItemContent, no_content
from training_jobs.training.encoder_torch import (
    Dropout,
    Encoder,
    EncoderSettings,
    SampledSoftmax,
    draw_candidates,
    sampled_loss,
)
from training_jobs.training.job import encoder_weights

ITEMS, MAX_LENGTH = 40, 6


def untrained(content: ItemContent | None = None, layers: int = 2) -> Encoder:
    """Random in every parameter, those that start at zero or one too."""
    torch.manual_seed(1)
    settings = EncoderSettings(dim=16, layers=layers, heads=4, max_length=MAX_LENGTH)
    encoder = Encoder(ITEMS, settings, content or no_content(ITEMS))
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return encoder.eval()


def in_torch(encoder: Encoder, prefixes: Sequence[Int32]) -> np.ndarray:
    with torch.no_grad():
        rows = [torch.from_numpy(prefix[-MAX_LENGTH:].astype(np.int64))[None] for prefix in prefixes]
        return np.stack([hidden_of(encoder, row)[0, -1].numpy() for row in rows])


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("content", [None, shop.content_of([at % 5 - 1 for at in range(ITEMS)])])
def test_numpy_gives_what_torch_gives(layers: int, content: ItemContent | None) -> None:
    encoder = untrained(content, layers)
    rng = np.random.default_rng(0)
    # Shorter, as long as, and longer than the encoder looks back, all in one padded batch.
    prefixes = [rng.integers(0, ITEMS, length).astype(np.int32) for length in (1, 2, 5, 6, 7, 20, 3)]
    found = encode(encoder_weights(encoder), prefixes)
    assert np.abs(found - in_torch(encoder, prefixes)).max() < 1e-5
    assert np.linalg.norm(found, axis=1) == pytest.approx(1.0, abs=1e-5)


def test_the_kernels_give_what_torch_gives_for_one_session_at_a_time(kernels: Kernels) -> None:
    encoder, rng = untrained(), np.random.default_rng(0)
    encode_one = kernels.encoder(encoder_weights(encoder))
    for length in (1, 2, 5, 6, 7, 20, 3):
        prefix = rng.integers(0, ITEMS, length).astype(np.int32)
        assert np.abs(encode_one(prefix) - in_torch(encoder, [prefix])[0]).max() < 1e-5


def test_an_answer_does_not_depend_on_who_else_is_in_the_batch() -> None:
    weights = encoder_weights(untrained())
    rng = np.random.default_rng(0)
    prefixes = [rng.integers(0, ITEMS, length).astype(np.int32) for length in (1, 6, 3, 2)]
    alone = np.concatenate([encode(weights, [prefix]) for prefix in prefixes])
    assert np.abs(encode(weights, prefixes) - alone).max() < 1e-5


def test_the_order_of_clicks_matters_and_what_is_too_long_ago_does_not() -> None:
    weights = encoder_weights(untrained())
    recent = np.arange(MAX_LENGTH, dtype=np.int32)
    assert np.abs(encode(weights, [recent]) - encode(weights, [recent[::-1]])).max() > 1e-3
    longer = np.r_[np.int32(30), recent]
    assert np.array_equal(encode(weights, [recent]), encode(weights, [longer]))


def test_a_position_never_looks_at_later_clicks() -> None:
    encoder = untrained()
    with torch.no_grad():
        short, long = (hidden_of(encoder, torch.arange(1, last)[None]) for last in (4, 6))
    assert torch.allclose(short, long[:, :3], atol=1e-6)


def test_probabilities_sum_to_one_and_favour_the_nearest_vector() -> None:
    weights = encoder_weights(untrained())
    prefixes = [np.array([3, 4], np.int32), np.array([9], np.int32)]
    found = probabilities(weights, prefixes)
    assert found.sum(axis=1) == pytest.approx(1.0, abs=1e-5)
    assert (found.argmax(1) == (encode(weights, prefixes) @ weights.vectors.T).argmax(1)).all()


def test_weights_come_back_from_disk_as_they_were(tmp_path: Path) -> None:
    weights = encoder_weights(untrained())
    save_weights(tmp_path / "encoder.npz", weights)
    again: EncoderWeights = load_weights(tmp_path / "encoder.npz", weights.vectors)
    assert (again.heads, again.temperature) == (weights.heads, weights.temperature)
    assert np.array_equal(again.vectors, weights.vectors)
    assert {name: value.tobytes() for name, value in again.tensors.items()} == {
        name: value.tobytes() for name, value in weights.tensors.items()
    }


def test_the_loss_by_hand_is_torch_s_cross_entropy_and_so_are_its_gradients() -> None:
    torch.manual_seed(0)
    hidden = torch.randn(1500, 8, requires_grad=True)
    candidates = torch.randn(20, 8, requires_grad=True)
    target, offset, weight = torch.randint(0, 20, (1500,)), torch.randn(20), torch.rand(1500)
    skip = torch.randint(0, 21, (1500,))
    skip[skip == target] = 20
    loss = SampledSoftmax.apply(hidden, candidates, target, offset, weight, skip, False)
    found = torch.autograd.grad(loss, (hidden, candidates))
    logits = hidden @ candidates.T + offset
    barred = torch.nn.functional.one_hot(skip, 21)[:, :20].bool()
    each = torch.nn.functional.cross_entropy(logits.masked_fill(barred, -1e9), target, reduction="none")
    expected = (each * weight).sum() / weight.sum()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    for mine, torchs in zip(found, torch.autograd.grad(expected, (hidden, candidates)), strict=True):
        assert torch.allclose(mine, torchs, atol=1e-6)


def loss_of(
    encoder: Encoder, hidden: torch.Tensor, negatives: int, pool: torch.Tensor, exclude_current: bool = False
) -> float:
    """Of a session of 1, 2, 3 that went on to 4, 5, 6."""
    inputs, target = torch.tensor([[1, 2, 3]]), torch.tensor([4, 5, 6])
    candidates = draw_candidates(inputs, target, negatives, pool, torch.Generator().manual_seed(0))
    vectors = encoder.item_vectors(candidates.rows)
    temperature, every = encoder.settings.temperature, torch.arange(3)
    loss = sampled_loss(
        hidden, vectors, candidates, every, torch.ones(3), temperature, False, exclude_current
    )
    return loss.item()


def test_with_as_many_negatives_as_items_the_softmax_is_complete() -> None:
    encoder, many = untrained(), 500
    encoder.item = torch.nn.Embedding(many, 16)
    hidden = hidden_of(encoder, torch.tensor([[1, 2, 3]]))[0]
    logits = hidden @ encoder.item_vectors(torch.arange(many)).T / encoder.settings.temperature
    expected = torch.nn.functional.cross_entropy(logits, torch.tensor([4, 5, 6])).item()
    for negatives in (many, 10**6):
        assert loss_of(encoder, hidden, negatives, torch.arange(many)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("negatives", [10, 400])
def test_the_sampled_partition_sum_is_unbiased(negatives: int) -> None:
    encoder, many = untrained(), 900
    encoder.item = torch.nn.Embedding(many, 16)
    # With all logits equal every item counts alike, so the loss is the logarithm of how many there are.
    found = loss_of(encoder, torch.zeros(3, 16), negatives, torch.arange(many))
    assert found == pytest.approx(np.log(many), rel=1e-5)


def test_candidates_come_in_lots_each_named_once_and_every_item_is_as_likely_to_be_drawn() -> None:
    inputs, target, pool = torch.tensor([[1, 2, 3]]), torch.tensor([4, 5, 6]), torch.arange(600)
    drawn, draws = np.zeros(600), torch.Generator().manual_seed(0)
    for _ in range(2000):
        found = draw_candidates(inputs, target, 400, pool, draws)
        assert len(found.rows) % 128 == 0
        assert len(found.rows.unique()) == len(found.rows)
        assert found.rows[found.inputs].tolist() == [[1, 2, 3]]
        assert found.rows[found.targets].tolist() == [4, 5, 6]
        drawn[found.rows.numpy()] += 1
    share = drawn[7:] / 2000
    assert share.mean() > 0.15
    # Nine of ten items within 1.65 standard deviations of the mean, and no trend from the first to the last.
    deviation = np.sqrt(share.mean() * (1 - share.mean()) / 2000)
    assert np.mean(np.abs(share - share.mean()) < 1.65 * deviation) > 0.85
    assert share[:100].mean() == pytest.approx(share[-100:].mean(), abs=deviation)


def test_what_the_session_looked_at_competes_without_being_drawn() -> None:
    encoder, hidden, pool = untrained(), torch.zeros(3, 16), torch.arange(1, 7)
    assert loss_of(encoder, hidden, 1, pool) == pytest.approx(np.log(6), rel=1e-5)
    assert loss_of(encoder, hidden, 1, pool, exclude_current=True) == pytest.approx(np.log(5), rel=1e-5)


@pytest.mark.parametrize("share", [0.3, 0.5])
def test_dropout_hides_its_share_and_keeps_the_mean_and_none_in_evaluation(share: float) -> None:
    torch.manual_seed(0)
    dropout, x = Dropout(share), torch.ones(1000, 333, requires_grad=True)
    found = dropout(x)
    kept = found > 0
    assert kept.float().mean().item() == pytest.approx(1 - share, abs=0.005)
    assert found.mean().item() == pytest.approx(1.0, abs=0.005)
    # Neither rows nor columns go together.
    assert kept.float().mean(0).std() < 0.03
    assert kept.float().mean(1).std() < 0.05
    (gradient,) = torch.autograd.grad(found.sum(), x)
    assert torch.equal(gradient, found.detach())
    assert dropout.eval()(x) is x or torch.equal(dropout(x), x)
