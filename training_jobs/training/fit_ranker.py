"""Fit the ranker to the validation tail: the item clicked next should be first on each shortlist."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training_jobs.gate.measure import measure
from training_jobs.serving.answer import Answerer, ranked_scores
from training_jobs.serving.ranker import (
    CANDIDATE_FEATURES,
    CONTEXT_FEATURES,
    SHORTLIST,
    Network,
    candidate_features,
    item_facts,
)
from training_jobs.serving.session_recommender import Recommender
from training_jobs.serving.sessions import Float32, Int64, Sessions
from training_jobs.snapshot.dataset import Cases
from training_jobs.training.target_weights import TargetWeights
from training_jobs.training.tune import objective, sample

CASES = 24_000  # all their shortlists are in memory at once: 260 MB
LEAST_CASES = 200  # with fewer, the blend's own order stays

HIDDEN = 64
_EPOCHS = 10
_BATCH = 64
_RATE = 3e-3
_WEIGHT_DECAY = 1e-2
_FLOOR_PRICE = (
    0.002  # of the objective: within the noise of a small tail, keep the floor for returning shoppers
)


@dataclass(frozen=True)
class Choice:
    """`network` is None if the blend was no worse. `rank` contains the ranks of the targets under the choice."""

    network: Network | None
    floor_ranked: bool
    rank: Int64


def choose(
    blend: Recommender, learnt: Sessions, tail: Cases, seed: int, weights: TargetWeights | None = None
) -> Choice:
    """Fit a network to the validation tail, and keep it if it beats the blend, with the return floor or without.

    The blend has learnt the sessions of `learnt`, which end before the `tail`. At most CASES cases of the tail are used. A
    network without a case's session judges that case. The returned network has seen all sessions. `weights` are those of the
    cases, None if all are equal.
    """
    cases = sample(tail, seed, CASES)
    if len(cases) < LEAST_CASES:
        measured = measure("blend", blend.scores, cases, exclude_current=blend.settings.exclude_current)
        return Choice(None, True, measured.rank)
    lists = shortlists(blend, item_facts(learnt, len(blend.vocabulary)), cases, weights)
    floored, free = out_of_fold(lists, cases.session, seed)
    of_case = lists.weight
    floor_ranked = objective(floored, of_case) >= objective(free, of_case) - _FLOOR_PRICE
    rank = floored if floor_ranked else free
    if objective(rank, of_case) <= objective(lists.rank, of_case):
        return Choice(None, True, lists.rank)
    return Choice(fit_network(lists, np.arange(len(lists)), seed), floor_ranked, rank)


@dataclass(frozen=True)
class Shortlists:
    """Shortlists of the cases: [cases, SHORTLIST, features], [cases, features], [cases, SHORTLIST], [cases, SHORTLIST].

    `target` is the index of the item clicked next, or -1 if it is not on the list. `rank` is its rank in the blend, and
    SHORTLIST + 1 for all that are not on the list. `weight` is that of each case in the loss, None if all are equal.
    """

    candidate: Float32
    context: Float32
    logit: Float32
    floor: Float32
    target: Int64
    rank: Int64
    weight: Float32 | None = None

    def __len__(self) -> int:
        return len(self.target)


def shortlists(
    blend: Recommender, facts: Float32, cases: Cases, weights: TargetWeights | None = None
) -> Shortlists:
    """Return the shortlists that the ranker orders, under a blend that has not learnt these cases.

    The blend finds them with its kernels, as it does for a shop.
    """
    answerer, current = Answerer(blend.parts, blend.kernels), int(blend.settings.exclude_current)
    n, width = len(cases), min(SHORTLIST, len(blend.vocabulary) - current)
    candidate = np.empty((n, width, len(CANDIDATE_FEATURES)), np.float32)
    context = np.empty((n, len(CONTEXT_FEATURES)), np.float32)
    logit, floor = np.empty((n, width), np.float32), np.empty((n, width), np.float32)
    target, rank = np.full(n, -1, np.int64), np.full(n, SHORTLIST + 1, np.int64)
    for row in range(n):
        prefix = cases.prefix(row)
        asked = answerer.question(prefix, SHORTLIST, prefix[len(prefix) - current :].astype(np.int64))
        short = answerer.blend(asked).first(SHORTLIST)
        candidate[row], context[row] = candidate_features(
            prefix, short.rows, short.probability, short.votes, blend.weights.vectors, facts
        )
        logit[row], floor[row] = short.logits, short.floor
        place = np.flatnonzero(short.rows == cases.targets[row])
        if len(place):
            target[row] = place[0]
            rank[row] = (short.scores >= short.scores[place[0]]).sum()
    weight = None if weights is None else weights.of(cases.targets, cases.kinds)
    return Shortlists(candidate, context, logit, floor, target, rank, weight)


def fit_network(lists: Shortlists, rows: Int64, seed: int) -> Network:
    """Fit a network to the cases at `rows`. The result is the same for the same seed on a CPU."""
    rows = rows[lists.target[rows] >= 0]
    kinds = lists.candidate.shape[2]
    mean, scale = _moments(lists.candidate[rows].reshape(-1, kinds))
    context_mean, context_scale = _moments(lists.context[rows])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = (nn.Linear(kinds + lists.context.shape[1], HIDDEN), nn.Linear(HIDDEN, HIDDEN))
        out = nn.Linear(HIDDEN, 1, bias=False)
        # It starts from the blend's own order.
        nn.init.zeros_(out.weight)
        net = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), out)
        optimiser = torch.optim.AdamW(net.parameters(), lr=_RATE, weight_decay=_WEIGHT_DECAY)
        steps = _EPOCHS * -(-len(rows) // _BATCH)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _RATE, total_steps=steps + 1)
        rng = np.random.default_rng(seed)
        for _ in range(_EPOCHS):
            order = rng.permutation(rows)
            for begin in range(0, len(order), _BATCH):
                at = order[begin : begin + _BATCH]
                of_item = (lists.candidate[at] - mean) / scale
                of_session = (lists.context[at] - context_mean) / context_scale
                of_session = np.broadcast_to(of_session[:, None], (*of_item.shape[:2], of_session.shape[1]))
                seen = torch.from_numpy(np.concatenate([of_item, of_session], axis=2))
                logits = net(seen)[:, :, 0] + torch.from_numpy(lists.logit[at])
                loss = _mean_loss(logits, lists, at)
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                schedule.step()
    first, bias = _numpy(layers[0].weight).T, _numpy(layers[0].bias)
    of_item, of_session = first[:kinds] / scale[:, None], first[kinds:] / context_scale[:, None]
    return Network(
        np.ascontiguousarray(of_item),
        np.ascontiguousarray(of_session),
        np.asarray(bias - mean @ of_item - context_mean @ of_session, np.float32),
        np.ascontiguousarray(_numpy(layers[1].weight).T),
        _numpy(layers[1].bias),
        _numpy(out.weight)[0],
    )


def _mean_loss(logits: Tensor, lists: Shortlists, rows: Int64) -> Tensor:
    target = torch.from_numpy(lists.target[rows])
    if lists.weight is None:
        return F.cross_entropy(logits, target)
    weight = torch.from_numpy(lists.weight[rows])
    return (F.cross_entropy(logits, target, reduction="none") * weight).sum() / weight.sum()


def reached(lists: Shortlists, network: Network, rows: Int64) -> tuple[Int64, Int64]:
    """Return the ranks of the targets of the cases at `rows` under the network, with the return floor and without.

    Targets that are not on the shortlist keep the blend's rank.
    """
    floored, free = lists.rank[rows].copy(), lists.rank[rows].copy()
    for at, row in enumerate(rows.tolist()):
        if lists.target[row] < 0:
            continue
        logits = lists.logit[row] + network(lists.candidate[row], lists.context[row])
        total = np.exp(lists.logit[row]).sum()
        for rank, floor in ((floored, lists.floor[row]), (free, None)):
            scores = ranked_scores(logits, total, floor)
            rank[at] = (scores >= scores[lists.target[row]]).sum()
    return floored, free


def out_of_fold(lists: Shortlists, session: Int64, seed: int) -> tuple[Int64, Int64]:
    """Return `reached` of all cases, each under a network that has learnt only the other half of the sessions.

    A half keeps the ranks of the blend if no shortlist of the other half has its target: a network has nothing to learn there.
    """
    names = np.unique(session)
    later = session >= names[len(names) // 2]
    floored, free = lists.rank.copy(), lists.rank.copy()
    for half in (later, ~later):
        learnt = np.flatnonzero(~half)
        if not (lists.target[learnt] >= 0).any():
            continue
        network = fit_network(lists, learnt, seed)
        floored[half], free[half] = reached(lists, network, np.flatnonzero(half))
    return floored, free


def _moments(values: Float32) -> tuple[Float32, Float32]:
    return values.mean(axis=0), values.std(axis=0) + np.float32(1e-3)


def _numpy(tensor: torch.Tensor) -> Float32:
    return cast(Float32, tensor.detach().numpy().copy())
