"""AdamW (Kingma & Ba, 2015; Loshchilov & Hutter, 2019) for a table of which each step uses few rows: only these cost time."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

_EPSILON = 1e-8
_SETTLED_ROWS = 65_536


class LazyAdam:
    """Update a table [rows, dim] as torch's AdamW would, but work only on rows that are read or stepped.

    A row that a step does not use has a zero gradient. AdamW then decays both moments and still moves the row, each time by
    beta1 / sqrt(beta2) of the move before. The missed moves are a geometric sum, which the next read adds. One
    approximation: the rate and the bias correction are those of the row's last own step.

    The update is in place. Between steps, rows are out of date until `settle`.
    """

    def __init__(self, table: Tensor, betas: tuple[float, float], weight_decay: float) -> None:
        self._table = table.detach()
        self._betas, self._weight_decay = betas, weight_decay
        self._steps = 0
        self._first, self._second = torch.zeros_like(self._table), torch.zeros_like(self._table)
        self._last = torch.zeros(len(table), dtype=torch.int64, device=table.device)
        self._rate = torch.zeros(len(table), device=table.device)

    def read(self, rows: Tensor) -> Tensor:
        """Return a copy of the given rows, up to date [len(rows), dim]."""
        beta1, beta2 = self._betas
        last, rate = self._last[rows], self._rate[rows]
        missed = (self._steps - last).float()
        own_step = last.clamp(min=1).double()
        unbias = (torch.sqrt(1 - beta2**own_step) / (1 - beta1**own_step)).float()
        shrink = beta1 / math.sqrt(beta2)
        coasted = rate * unbias * shrink * (1 - shrink**missed) / (1 - shrink)
        first, second, values = (
            tensor.index_select(0, rows) for tensor in (self._first, self._second, self._table)
        )
        if self._weight_decay:
            values *= ((1 - rate * self._weight_decay) ** missed)[:, None]
        return values.sub_(first.mul_(coasted[:, None]).div_(second.sqrt_().add_(_EPSILON)))

    def step(self, rows: Tensor, values: Tensor, gradient: Tensor, rate: float) -> None:
        """Make one step of the whole table. These rows (each listed once) were read as `values` and have a gradient."""
        beta1, beta2 = self._betas
        missed = (self._steps - self._last[rows]).float()[:, None]
        self._steps += 1
        first = self._first.index_select(0, rows).mul_(beta1**missed).lerp_(gradient, 1 - beta1)
        second = self._second.index_select(0, rows).mul_(beta2 ** (missed + 1))
        second.addcmul_(gradient, gradient, value=1 - beta2)
        self._first.index_copy_(0, rows, first)
        self._second.index_copy_(0, rows, second)
        self._last[rows], self._rate[rows] = self._steps, rate
        unbias = math.sqrt(1 - beta2**self._steps) / (1 - beta1**self._steps)
        moved = first.mul_(rate * unbias).div_(second.sqrt_().add_(_EPSILON))
        self._table.index_copy_(0, rows, values * (1 - rate * self._weight_decay) - moved)

    def settle(self) -> None:
        """Bring every row up to date."""
        beta1, beta2 = self._betas
        for rows in torch.arange(len(self._table), device=self._table.device).split(_SETTLED_ROWS):  # type: ignore[no-untyped-call]
            self._table.index_copy_(0, rows, self.read(rows))
        missed = (self._steps - self._last).float()[:, None]
        self._first *= beta1**missed
        self._second *= beta2**missed
        self._last.fill_(self._steps)

    def state(self) -> dict[str, Any]:
        """Return the state of a settled table for a checkpoint."""
        return {"first": self._first, "second": self._second, "rate": self._rate, "steps": self._steps}

    def load(self, state: dict[str, Any]) -> None:
        """Restore the state of a checkpoint."""
        self._first.copy_(state["first"])
        self._second.copy_(state["second"])
        self._rate.copy_(state["rate"])
        self._steps = int(state["steps"])
        self._last.fill_(self._steps)
