"""An encoder asked by items, as tests like to; the training loop gives it places among a step's candidates."""

from __future__ import annotations

import torch
from torch import Tensor

from training_jobs.training.encoder_torch import Encoder


def hidden_of(encoder: Encoder, rows: Tensor) -> Tensor:
    """Sessions of items [batch, length] -> [batch, length, dim]."""
    items, places = torch.unique(rows, return_inverse=True)
    hidden: Tensor = encoder(encoder.item_vectors(items), places)
    return hidden
