"""The endpoint's encoder in numpy is the trained one in torch."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.unit.training_jobs import shop
from training_jobs.data import Int32, ItemContent, no_content
from training_jobs.encoder import EncoderWeights, encode, load_weights, probabilities, save_weights
from training_jobs.model import Encoder, EncoderSettings, SampledSoftmax, sampled_loss
from training_jobs.pipeline import encoder_weights

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
        return np.stack([encoder(row)[0, -1].numpy() for row in rows])


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
        short, long = encoder(torch.tensor([[1, 2, 3]])), encoder(torch.tensor([[1, 2, 3, 4, 5]]))
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


def test_with_as_many_negatives_as_items_the_softmax_is_complete() -> None:
    encoder = untrained()
    rows, target = torch.tensor([[1, 2, 3]]), torch.tensor([4, 5, 6])
    hidden = encoder(rows)[0]
    pool = torch.arange(ITEMS)
    draws = torch.Generator().manual_seed(0)
    loss = sampled_loss(encoder, hidden, target, torch.ones(3), 10**6, pool, draws, False, rows[0], False)
    logits = hidden @ encoder.all_item_vectors().T / encoder.settings.temperature
    assert loss.item() == pytest.approx(torch.nn.functional.cross_entropy(logits, target).item(), rel=1e-5)


def test_the_sampled_partition_sum_is_unbiased() -> None:
    encoder = untrained()
    rows, target = torch.tensor([[1, 2, 3]]), torch.tensor([4, 5, 6])
    hidden, every = encoder(rows)[0] * 0, torch.arange(ITEMS)
    draws = torch.Generator().manual_seed(0)
    # With all logits equal every item counts alike, so the loss is the logarithm of how many there are.
    loss = sampled_loss(encoder, hidden, target, torch.ones(3), 10, every, draws, False, rows[0], False)
    assert loss.item() == pytest.approx(np.log(ITEMS), rel=1e-5)


def test_what_the_session_looked_at_competes_without_being_drawn() -> None:
    encoder = untrained()
    rows, target = torch.tensor([[1, 2, 3]]), torch.tensor([4, 5, 6])
    hidden = encoder(rows)[0] * 0
    draws = torch.Generator().manual_seed(0)
    pool = torch.arange(1, 7)

    def loss(exclude_current: bool) -> float:
        every = torch.ones(3)
        return sampled_loss(
            encoder, hidden, target, every, 1, pool, draws, False, rows[0], exclude_current
        ).item()

    assert loss(False) == pytest.approx(np.log(6), rel=1e-5)
    assert loss(True) == pytest.approx(np.log(5), rel=1e-5)
