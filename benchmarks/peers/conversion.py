"""Convert the benchmark's sessions for the libraries, and their scores for the benchmark's ranking.

`id_of_row` maps the benchmark's items to the peer's ids; 0 is an item that the peer does not know.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from training_jobs.serving.sessions import Float32, Int32, Int64, Sessions


def expand(sessions: Sessions, longest: int) -> tuple[list[Int32], Int32]:
    """Return one example per position: at most `longest` items before it, and its item."""
    before, after = [], []
    for row in range(len(sessions)):
        items = sessions.session(row)
        for at in range(1, len(items)):
            before.append(items[max(0, at - longest) : at])
            after.append(items[at])
    return before, np.array(after, np.int32)


def known_tails(prefixes: Sequence[Int32], id_of_row: Int64, longest: int, *, pad_left: bool) -> Int64:
    """Return the last `longest` known items of each prefix as the peer's ids; 0 is padding."""
    tails = [ids[ids > 0][-longest:] for ids in (id_of_row[prefix] for prefix in prefixes)]
    width = longest if pad_left else max(1, *(len(tail) for tail in tails))
    out = np.zeros((len(tails), width), np.int64)
    for row, tail in enumerate(tails):
        if pad_left and len(tail):
            out[row, -len(tail) :] = tail
        else:
            out[row, : len(tail)] = tail
    return out


def over_all_items(own: Float32, id_of_row: Int64, tails: Int64) -> Float32:
    """Convert scores over the peer's ids to scores over the benchmark's items; unknown items cannot be hit.

    A prefix without known items scores every item alike, so that ties count against the peer.
    """
    out = np.full((len(own), len(id_of_row)), -math.inf, np.float32)
    out[:, id_of_row > 0] = own[:, id_of_row[id_of_row > 0]]
    out[~tails.any(axis=1)] = 0.0
    return out


def newest(sessions: Sessions, id_of_row: Int64, longest: int) -> list[list[int]]:
    """Return the last `longest` known items of each session as the peer's ids, for sessions with at least two."""
    kept = []
    for row in range(len(sessions)):
        ids = id_of_row[sessions.session(row)]
        ids = ids[ids > 0][-longest:]
        if len(ids) >= 2:
            kept.append(ids.tolist())
    return kept


def write_prefixes(path: Path, sessions: Sessions, longest: int) -> None:
    """Write RecBole's atomic file: one line per example, with items separated by spaces."""
    before, after = expand(sessions, longest)
    with path.open("w") as file:
        file.write("session_id:token\titem_id_list:token_seq\titem_id:token\n")
        for row, (prefix, target) in enumerate(zip(before, after, strict=True)):
            file.write(f"{row}\t{' '.join(map(str, prefix))}\t{target}\n")
