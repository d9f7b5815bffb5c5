"""Run in two processes by test_workers.py: torchrun's variables, and the path of this process's result, are given."""

import json
import sys
from pathlib import Path

import torch

from tests.unit.training_jobs import shop
from training_jobs.snapshot.dataset import no_content
from training_jobs.training.distributed import joined
from training_jobs.training.encoder_torch import Encoder, EncoderSettings
from training_jobs.training.fit_encoder import FitSettings, Job, fit
from training_jobs.training.lazy_adam import LazyAdam
from training_jobs.training.workers import Workers

ROWS = ([0, 2, 3], [2, 4])
GRADIENTS = ([[1.0], [2.0], [3.0]], [[10.0], [20.0]])


def merged(workers: Workers) -> dict[str, object]:
    """Each process has read other rows of a table, one of them the same."""
    table = LazyAdam(torch.arange(5.0)[:, None], (0.9, 0.98), 0.0)
    rows = torch.tensor(ROWS[workers.rank])
    own = table.read(rows).requires_grad_()
    own.grad = torch.tensor(GRADIENTS[workers.rank])
    union, values = workers.merge(rows, own, table)
    assert values.grad is not None
    return {"rows": union.tolist(), "values": values.tolist(), "gradient": values.grad.tolist()}


def main() -> None:
    torch.set_num_threads(1)
    with joined() as workers:
        torch.manual_seed(0)
        settings = EncoderSettings(dim=8, layers=1, heads=2, max_length=5)
        encoder = Encoder(shop.ITEMS, settings, no_content(shop.ITEMS))
        losses = list[float]()
        plan = FitSettings(epochs=4, batch_events=32, negatives=20, learning_rate=1e-2)
        fit(
            encoder,
            shop.walks(200),
            plan,
            Job(workers=workers),
            "learn",
            shard_events=300,
            on_epoch=lambda epoch: losses.append(epoch.loss),
        )
        result = {
            "merged": merged(workers),
            "smallest": workers.smallest(7 - workers.rank),
            "first": workers.from_first({"rank": workers.rank}),
            "losses": losses,
            "weights": [value.double().sum().item().hex() for value in encoder.state_dict().values()],
        }
        with torch.no_grad():
            encoder.item.weight[0, 0] += workers.rank
        try:
            workers.require_equal(encoder)
        except RuntimeError as error:
            result["refused"] = str(error)
    Path(f"{sys.argv[1]}.{workers.rank}").write_text(json.dumps(result))


if __name__ == "__main__":
    main()
