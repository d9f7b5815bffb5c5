"""RecTools (https://rectools.readthedocs.io): its SASRec with LiGR layers (eSASRec), with the benchmark's sessions.

It uses RecTools' collation and Lightning module. The model is built from `train`, so that it knows the items of the refit.
"""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from pytorch_lightning import Callback, Trainer, seed_everything
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import SASRecModel
from rectools.models.nn.transformers.data_preparator import SequenceDataset
from rectools.models.nn.transformers.ligr import LiGRLayers
from torch.utils.data import DataLoader

from benchmarks.peers.conversion import known_tails, newest, over_all_items
from benchmarks.peers.exchange import Task
from training_jobs.serving.sessions import Float32, Int32, Sessions


class RecTools:
    """RecTools' eSASRec."""

    def __init__(self, task: Task) -> None:
        logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
        warnings.filterwarnings("ignore", module="pytorch_lightning")
        seed_everything(task.plan.seed)
        self._clock = _Until()
        self._trainer = Trainer(
            accelerator="cpu",
            devices=1,
            max_epochs=0,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[self._clock],
        )
        self._model = SASRecModel(
            transformer_layers_type=LiGRLayers,
            get_trainer_func=lambda: self._trainer,
            **task.plan.settings,
        )
        # The steps of SASRecModel.fit without its loop over epochs: the benchmark validates between epochs.
        self._model._build_model_from_dataset(Dataset.construct(interactions(task.train)))
        preparator = self._model.data_preparator
        self._id_of_row = np.zeros(task.items, np.int64)
        rows = preparator.get_known_item_ids().astype(np.int64)
        self._id_of_row[rows] = preparator.item_id_map.convert_to_internal(rows)
        self._longest = self._model.session_max_len
        self._loaders = {
            part: DataLoader(
                self._sequences(getattr(task, part)),
                batch_size=self._model.batch_size,
                collate_fn=preparator._collate_fn_train,
                shuffle=True,
            )
            for part in ("learn", "train")
        }

    def _sequences(self, sessions: Sessions) -> SequenceDataset:
        kept = newest(sessions, self._id_of_row, self._longest + 1)
        return SequenceDataset(kept, [[1.0] * len(session) for session in kept])

    def train_epoch(self, part: str, stop: Callable[[], bool]) -> float:
        self._clock.begin(stop)
        self._trainer.fit_loop.max_epochs = self._trainer.current_epoch + 1
        self._trainer.should_stop = False
        self._model.lightning_model.train()
        self._trainer.fit(self._model.lightning_model, self._loaders[part])
        return self._clock.done / len(self._loaders[part])

    def scores(self, prefixes: Sequence[Int32]) -> Float32:
        tails = known_tails(prefixes, self._id_of_row, self._longest, pad_left=True)
        net = self._model.torch_model.eval()
        with torch.no_grad():
            items = net.item_model.get_all_embeddings()
            sessions = net.encode_sessions({"x": torch.from_numpy(tails)}, items)[:, -1]
            own = (
                net.similarity_module.session_tower_forward(sessions)
                @ net.similarity_module.item_tower_forward(items).T
            )
        return over_all_items(own.numpy(), self._id_of_row, tails)

    def state(self) -> Any:
        return copy.deepcopy(self._model.torch_model.state_dict())

    def restore(self, state: Any) -> None:
        self._model.torch_model.load_state_dict(state)

    def slow_down(self, factor: float) -> None:
        for group in self._model.lightning_model.optimizer.param_groups:
            group["lr"] /= factor


class _Until(Callback):  # type: ignore[misc]
    """A callback that counts batches, and ends an epoch early when `stop` returns True."""

    def begin(self, stop: Callable[[], bool]) -> None:
        self._stop, self.done = stop, 0

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        self.done += 1
        if self._stop():
            trainer.should_stop = True


def interactions(sessions: Sessions) -> pd.DataFrame:
    """Make one row per event; a session is a user, and the order of events is the clock."""
    order = np.arange(len(sessions.items))
    return pd.DataFrame(
        {
            Columns.User: np.repeat(np.arange(len(sessions)), sessions.lengths),
            Columns.Item: sessions.items,
            Columns.Weight: 1.0,
            Columns.Datetime: pd.Timestamp("2020-01-01") + pd.to_timedelta(order, unit="s"),
        }
    )
