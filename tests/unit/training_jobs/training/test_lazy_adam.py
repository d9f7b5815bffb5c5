"""A table stepped row by row is where torch's AdamW, which steps all of it, puts it."""

import numpy as np
import pytest
import torch

from training_jobs.training.lazy_adam import LazyAdam

BETAS, ROWS, DIM = (0.9, 0.98), 60, 8


def both(
    shares: float, steps: int, weight_decay: float, rate: float = 1e-2
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The start, torch's end and ours, of the same gradients; a step uses about a share of the rows."""
    rng = np.random.default_rng(0)
    start = torch.from_numpy(rng.normal(size=(ROWS, DIM)).astype(np.float32))
    dense, table = torch.nn.Parameter(start.clone()), start.clone()
    torchs = torch.optim.AdamW([dense], lr=rate, betas=BETAS, weight_decay=weight_decay)
    ours = LazyAdam(table, BETAS, weight_decay)
    for _ in range(steps):
        rows = torch.from_numpy(np.flatnonzero(rng.random(ROWS) < shares))
        gradient = torch.from_numpy(rng.normal(size=(len(rows), DIM)).astype(np.float32))
        dense.grad = torch.zeros_like(dense).index_copy_(0, rows, gradient)
        torchs.step()
        ours.step(rows, ours.read(rows), gradient, rate)
    ours.settle()
    return start, dense.detach(), table


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_with_every_row_in_every_step_it_is_adamw(weight_decay: float) -> None:
    _, expected, found = both(1.0, 40, weight_decay)
    assert torch.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_rows_that_steps_leave_out_end_where_adamw_moves_them(weight_decay: float) -> None:
    start, expected, found = both(0.1, 1500, weight_decay)
    assert (found - expected).norm() < 0.02 * (expected - start).norm()


def test_a_row_is_up_to_date_when_it_is_read_though_the_table_lies_behind() -> None:
    table = torch.ones(3, 2)
    adam = LazyAdam(table, BETAS, 0.0)
    one, other = torch.tensor([0]), torch.tensor([1])
    adam.step(one, adam.read(one), torch.ones(1, 2), 0.1)
    before = table[0].clone()
    for _ in range(5):
        adam.step(other, adam.read(other), torch.ones(1, 2), 0.1)
    assert torch.equal(table[0], before)
    read = adam.read(one)[0]
    assert (read < before).all()
    adam.settle()
    assert torch.equal(table[0], read)
    assert torch.equal(adam.read(one)[0], read)
    assert torch.equal(table[2], torch.ones(2))


def test_what_a_row_missed_is_the_same_made_up_for_at_once_or_in_parts() -> None:
    def run(settles: bool) -> torch.Tensor:
        table, draws = torch.ones(20, 4), torch.Generator().manual_seed(0)
        adam = LazyAdam(table, BETAS, 0.01)
        for step in range(1500):
            rows = torch.randperm(20, generator=draws)[:3]
            adam.step(rows, adam.read(rows), torch.randn(3, 4, generator=draws), 0.01)
            # In the first hundred steps the bias correction still differs from one to the next.
            if settles and step > 300:
                adam.settle()
        adam.settle()
        return table

    assert torch.allclose(run(True), run(False), atol=2e-3)


def test_a_table_carried_on_from_its_state_ends_as_one_that_was_not_stopped() -> None:
    def steps(adam: LazyAdam, seed: int) -> None:
        draws = torch.Generator().manual_seed(seed)
        for _ in range(30):
            rows = torch.randperm(20, generator=draws)[:3]
            adam.step(rows, adam.read(rows), torch.randn(3, 4, generator=draws), 0.01)
        adam.settle()

    table = torch.ones(20, 4)
    adam = LazyAdam(table, BETAS, 0.0)
    steps(adam, 0)
    carried = table.clone()
    other = LazyAdam(carried, BETAS, 0.0)
    other.load(adam.state())
    steps(adam, 1)
    steps(other, 1)
    assert torch.equal(table, carried)
