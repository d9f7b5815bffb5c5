"""The peers, each with the best settings that its authors published, and the source of these settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_RECBOLE_SESSIONS = (
    "RUCAIBox/RecBole-GNN, results/sequential/diginetica.md: best of its search on Diginetica; "
    "the rest are RecBole's defaults"
)
_CORE = (
    "RUCAIBox/CORE (the paper's code), props/core_trm.yaml and overall.yaml; the rest are RecBole's defaults"
)
_ESASREC = (
    "blondered/transformer_benchmark (the eSASRec paper's code), configs/paper/{}; "
    "the rest are RecTools' defaults, the patience is this benchmark's"
)


@dataclass(frozen=True)
class Peer:
    """A peer. `settings` go to the library unchanged; `patience` counts epochs without a better validation MRR@20."""

    library: str
    algorithm: str
    settings: dict[str, Any]
    patience: int
    source: str


def _recbole_session(algorithm: str, **settings: Any) -> Peer:
    shared = {"train_batch_size": 4096, "MAX_ITEM_LIST_LENGTH": 20}
    return Peer("recbole", algorithm, shared | settings, 10, _RECBOLE_SESSIONS)


def _esasrec(config: str, **settings: Any) -> Peer:
    shared = {
        "loss": "sampled_softmax",
        "n_negatives": 256,
        "n_factors": 256,
        "session_max_len": 50,
        "use_key_padding_mask": True,
        "batch_size": 128,
        "lr": 0.001,
    }
    return Peer("rectools", "SASRec, LiGR layers", shared | settings, 10, _ESASREC.format(config))


PEERS: dict[str, Peer] = {
    "gru4rec": _recbole_session(
        "GRU4Rec", learning_rate=0.01, embedding_size=64, hidden_size=128, num_layers=1, dropout_prob=0.3
    ),
    "narm": _recbole_session(
        "NARM", learning_rate=0.001, embedding_size=64, hidden_size=128, n_layers=1, dropout_probs=[0.25, 0.5]
    ),
    "srgnn": _recbole_session("SRGNN", learning_rate=0.001, embedding_size=64, step=1),
    "sasrec": _recbole_session(
        "SASRec",
        learning_rate=0.001,
        hidden_size=64,
        n_layers=2,
        attn_dropout_prob=0.2,
        hidden_dropout_prob=0.2,
    ),
    "core": Peer(
        "recbole",
        "CORE",
        {
            "learning_rate": 0.001,
            "train_batch_size": 2048,
            "MAX_ITEM_LIST_LENGTH": 50,
            "embedding_size": 100,
            "inner_size": 256,
            "n_layers": 2,
            "n_heads": 2,
            "hidden_dropout_prob": 0.5,
            "attn_dropout_prob": 0.5,
            "sess_dropout": 0.2,
            "item_dropout": 0.2,
            "temperature": 0.07,
        },
        5,
        _CORE,
    ),
    # From the paper's study on short histories split by time, which is nearest to shop sessions.
    "rectools_sasrec": _esasrec("kion_r/layer_and_losses.yaml", n_blocks=2, n_heads=2, dropout_rate=0.1),
}
_OF_USERS = {"rectools_sasrec": _esasrec("loo/s3_beauty_ligr.yaml", n_blocks=1, n_heads=1, dropout_rate=0.2)}


def published(name: str, layout: str) -> Peer:
    """Return the peer with its settings for a layout of `benchmarks.next_item_layouts`."""
    return _OF_USERS.get(name, PEERS[name]) if layout == "users" else PEERS[name]
