"""The processes that train one encoder together, each on its own shards: data parallelism with equal weights in every process.

torch's DistributedDataParallel averages the gradients of whole parameters. A step has a gradient in few rows of the item table,
and LazyAdam works on these rows alone. So both kinds of gradients are averaged here.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from training_jobs.training.lazy_adam import LazyAdam


@dataclass(frozen=True)
class Workers:
    """This process among `size` processes. The one of rank 0 decides, logs and writes. Alone, every method returns its input."""

    rank: int = 0
    size: int = 1

    @property
    def rate_factor(self) -> float:
        """Return the factor of the learning rate. A step has `size` batches, and Adam's rate grows with the root of its batch."""
        return math.sqrt(self.size)

    def from_first(self, value: Any) -> Any:
        """Return the value of the first process."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0, device=torch.device("cpu"))
        return box[0]

    def total(self, *values: float) -> list[float]:
        """Return the sums over all processes."""
        if self.size == 1:
            return list(values)
        box = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(box)
        return [float(value) for value in box]

    def smallest(self, value: int) -> int:
        """Return the smallest value of all processes."""
        if self.size == 1:
            return value
        box = torch.tensor([value])
        dist.all_reduce(box, dist.ReduceOp.MIN)
        return int(box)

    def average(self, parameters: Sequence[nn.Parameter]) -> None:
        """Replace the gradients by their mean over all processes."""
        if self.size == 1:
            return
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        parts = torch.split(flat.div_(self.size), [gradient.numel() for gradient in gradients])
        for parameter, part in zip(parameters, parts, strict=True):
            parameter.grad = part.view_as(parameter)

    def merge(self, rows: Tensor, own: Tensor, table: LazyAdam) -> tuple[Tensor, Tensor]:
        """Return the rows that any process has read, and their values with the mean gradient over all processes."""
        if self.size == 1:
            return rows, own
        assert own.grad is not None
        sizes = [int(size) for size in self._gathered(torch.tensor([len(rows)], device=rows.device))]
        # Processes exchange tensors of one size.
        padded = (0, max(sizes) - len(rows))
        all_rows = self._gathered(nn.functional.pad(rows, padded))
        gradients = self._gathered(nn.functional.pad(own.grad, (0, 0, *padded)))
        union, place = torch.unique(
            torch.cat([part[:size] for part, size in zip(all_rows, sizes, strict=True)]), return_inverse=True
        )
        total = own.new_zeros(len(union), own.shape[1])
        # One process after the other: its rows are different, so each sum has one order, and every process the same bits.
        for at, part, size in zip(torch.split(place, sizes), gradients, sizes, strict=True):
            total.index_add_(0, at, part[:size])
        merged = table.read(union).requires_grad_()
        merged.grad = total.div_(self.size)
        return union, merged

    def _gathered(self, tensor: Tensor) -> list[Tensor]:
        parts = [torch.empty_like(tensor) for _ in range(self.size)]
        dist.all_gather(parts, tensor.contiguous())
        return parts

    def require_equal(self, module: nn.Module) -> None:
        """Check that every process has the same weights.

        Raises:
            RuntimeError: they differ, so that the processes did not train one encoder.
        """
        if self.size == 1:
            return
        digest = hashlib.sha256()
        for value in module.state_dict().values():
            digest.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().data)
        if digest.digest() != self.from_first(digest.digest()):
            raise RuntimeError(
                f"the weights of process {self.rank} differ from those of process 0 after training: train on an instance with "
                "one GPU, and report the type of this one"
            )


ALONE = Workers()
