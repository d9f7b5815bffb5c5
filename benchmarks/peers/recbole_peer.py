"""RecBole (https://recbole.io/docs): its data set, loader, model and training loop, with the benchmark's sessions.

Sessions are given as complete prefixes (its `benchmark_filename`), as in the CORE paper's data.
"""

from __future__ import annotations

import copy
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recbole.config import Config
from recbole.data import create_dataset
from recbole.data.dataloader import TrainDataLoader
from recbole.data.interaction import Interaction
from recbole.utils import get_model, get_trainer, init_seed

from benchmarks.peers.conversion import known_tails, over_all_items, write_prefixes
from benchmarks.peers.exchange import Task
from training_jobs.serving.sessions import Float32, Int32

_NAME = "sessions"
_PARTS = ["learn", "train"]


class RecBole:
    """A RecBole model."""

    def __init__(self, task: Task, directory: Path) -> None:
        sys.argv = sys.argv[:1]  # RecBole's Config reads the command line
        logging.getLogger().setLevel(logging.WARNING)
        self._longest = int(task.plan.settings["MAX_ITEM_LIST_LENGTH"])
        (directory / _NAME).mkdir()
        for part in _PARTS:
            write_prefixes(directory / _NAME / f"{_NAME}.{part}.inter", getattr(task, part), self._longest)
        config = Config(
            model=task.plan.algorithm,
            dataset=_NAME,
            config_dict=task.plan.settings
            | {
                "data_path": str(directory),
                "checkpoint_dir": str(directory / "saved"),
                "USER_ID_FIELD": "session_id",
                "benchmark_filename": _PARTS,
                "alias_of_item_id": ["item_id_list"],
                "load_col": {"inter": ["session_id", "item_id_list", "item_id"]},
                "train_neg_sample_args": None,  # cross-entropy over all items
                "seed": task.plan.seed,
                "use_gpu": False,
                "show_progress": False,
            },
        )
        init_seed(config["seed"], config["reproducibility"])
        torch.set_num_threads(task.plan.threads)
        dataset = create_dataset(config)
        built = dict(zip(_PARTS, dataset.build(), strict=True))
        self._loaders = {part: TrainDataLoader(config, built[part], None, shuffle=True) for part in _PARTS}
        self._model = get_model(config["model"])(config, built["learn"])
        self._trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, self._model)
        self._id_of_row = np.zeros(task.items, np.int64)
        for token, number in dataset.field2token_id["item_id"].items():
            if token != "[PAD]":
                self._id_of_row[int(token)] = number
        self._epoch = 0

    def train_epoch(self, part: str, stop: Callable[[], bool]) -> float:
        batches = _Until(self._loaders[part], stop)
        self._trainer._train_epoch(batches, self._epoch)
        self._epoch += 1
        return batches.done / len(self._loaders[part])

    def scores(self, prefixes: Sequence[Int32]) -> Float32:
        tails = known_tails(prefixes, self._id_of_row, self._longest, pad_left=False)
        lengths = np.maximum((tails > 0).sum(axis=1), 1)
        asked = Interaction(
            {"item_id_list": torch.from_numpy(tails), "item_length": torch.from_numpy(lengths)}
        )
        self._model.eval()
        with torch.no_grad():
            own = self._model.full_sort_predict(asked).view(len(tails), -1).numpy()
        return over_all_items(own, self._id_of_row, tails)

    def state(self) -> Any:
        return copy.deepcopy(self._model.state_dict())

    def restore(self, state: Any) -> None:
        self._model.load_state_dict(state)

    def slow_down(self, factor: float) -> None:
        for group in self._trainer.optimizer.param_groups:
            group["lr"] /= factor


class _Until:
    """A loader that ends early when `stop` returns True."""

    def __init__(self, loader: Any, stop: Callable[[], bool]) -> None:
        self._loader, self._stop, self.done = loader, stop, 0

    def __iter__(self) -> Iterator[Any]:
        for batch in self._loader:
            yield batch
            self.done += 1
            if self._stop():
                return
