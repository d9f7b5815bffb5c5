"""Measure the latency of a response, in process and over HTTP, beside other ways to serve the same model.

All contestants of one size take turns on one core, so that noise of other processes affects all alike.
`read` is the lower bound: one read of the int8 matrix, measured in the same turns.
Times are wall clock; `cpu_p50_ms` is the thread's own time, which depends less on the machine's load.
"""

from __future__ import annotations

import os

# Set before numpy and torch load.
for _library in ("OPENBLAS", "MKL", "OMP"):
    os.environ[f"{_library}_NUM_THREADS"] = "1"

import gc  # noqa: E402
import importlib.util  # noqa: E402
import json  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable, Sequence  # noqa: E402
from dataclasses import replace  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402

from benchmarks import serve_http, serve_peers  # noqa: E402
from benchmarks.conditions import conditions, parser  # noqa: E402
from benchmarks.serve_shops import made_up, write_archive  # noqa: E402
from training_jobs.serving.answer import SPARE  # noqa: E402
from training_jobs.serving.contract import ARCHIVE_GOLDEN  # noqa: E402
from training_jobs.serving.encoder_numpy import encode  # noqa: E402
from training_jobs.serving.kernels.reference import REFERENCE  # noqa: E402
from training_jobs.serving.model_files import load_recommender  # noqa: E402
from training_jobs.serving.ranker import SHORTLIST  # noqa: E402
from training_jobs.serving.session_recommender import Recommender, top  # noqa: E402
from training_jobs.serving.sessions import Int32  # noqa: E402

K = 20
TURNS = 5


def in_process(recommender: Recommender, prefixes: Sequence[Int32], questions: int) -> dict[str, Any]:
    """Measure each contestant and part in milliseconds, over `questions` requests in TURNS turns."""
    weights, vocabulary = recommender.weights, recommender.vocabulary
    sessions = {id(prefix): [vocabulary[item] for item in prefix] for prefix in prefixes}
    unranked = recommender.unranked(recommender.settings)
    encoder_only = recommender.unranked(replace(recommender.settings, knn_weight=0.0))
    kernels, hidden = recommender.kernels, np.zeros(len(vocabulary), np.bool_)
    scan, scan_numpy = (made.scanner(*recommender.codes, hidden) for made in (kernels, REFERENCE))
    steepness, count = 1.0 / weights.temperature, SHORTLIST + SPARE + 1
    queries = {id(prefix): query for prefix, query in zip(prefixes, encode(weights, prefixes), strict=True)}
    words = np.ascontiguousarray(recommender.codes[0]).view(np.uint64)
    contestants: dict[str, Callable[[Int32], Any]] = {
        "tugboat": lambda prefix: recommender.recommend(sessions[id(prefix)], K),
        "tugboat_without_ranker": lambda prefix: unranked.recommend(sessions[id(prefix)], K),
        "tugboat_without_knn_and_ranker": lambda prefix: encoder_only.recommend(sessions[id(prefix)], K),
        "part_encode": kernels.encoder(weights),
        "part_encode_numpy": lambda prefix: encode(weights, [prefix]),
        "part_knn": kernels.voter(recommender.index, recommender.settings.knn),
        "part_scan": lambda prefix: scan(queries[id(prefix)], steepness, count),
        "part_scan_numpy": lambda prefix: scan_numpy(queries[id(prefix)], steepness, count),
        "read": lambda prefix: words.max(),
    }
    skipped: dict[str, str] = {}
    for name, make in serve_peers.IN_PROCESS.items():
        try:
            contestants[name] = make(weights)
        except ImportError as error:
            skipped[name] = f"{error}: pip install -r benchmarks/requirements-serve.txt"
    wall: dict[str, list[float]] = {name: [] for name in contestants}
    cpu: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(TURNS):
        for name, ask in contestants.items():
            asked = prefixes[turn :: TURNS * max(1, len(prefixes) // questions)]
            slow = name != "read" and not name.startswith(("part", "tugboat"))
            for prefix in asked[: max(20, len(asked) // 5)] if slow else asked:
                began, own = time.perf_counter(), time.thread_time()
                ask(prefix)
                cpu[name].append(time.thread_time() - own)
                wall[name].append(time.perf_counter() - began)
        print(f"{len(vocabulary)} items, turn {turn + 1} of {TURNS}", file=sys.stderr, flush=True)
    rows: dict[str, Any] = {
        name: {
            "p50_ms": round(float(np.quantile(wall[name], 0.5)) * 1000, 4),
            "p99_ms": round(float(np.quantile(wall[name], 0.99)) * 1000, 4),
            "cpu_p50_ms": round(float(np.quantile(cpu[name], 0.5)) * 1000, 4),
            "questions": len(wall[name]),
        }
        for name in contestants
    }
    ours = rows["tugboat_without_knn_and_ranker"]["cpu_p50_ms"]
    rows |= {name: {"skipped": why} for name, why in skipped.items()}
    return {
        "items": len(vocabulary),
        "past_sessions": recommender.index.sessions,
        "kernels": recommender.kernels.name,
        "rows": rows,
        "times_ours_without_knn_and_ranker": {
            name: round(rows[name]["cpu_p50_ms"] / ours, 2)
            for name in ("read", *serve_peers.IN_PROCESS)
            if "cpu_p50_ms" in rows[name]
        },
        "read_gb_per_s": round(words.nbytes / 1e6 / rows["read"]["p50_ms"], 1),
        "top_20": parity(recommender, prefixes[: min(len(prefixes), questions)]),
    }


def parity(recommender: Recommender, prefixes: Sequence[Int32]) -> dict[str, float | int]:
    """Compare the responses with the first twenty of the full float32 ranking, over all prefixes."""
    shared, same = [], []
    for begin in range(0, len(prefixes), 64):
        part = prefixes[begin : begin + 64]
        for prefix, scores in zip(part, recommender.scores(part), strict=True):
            scores[prefix[-1]] = -np.inf
            expected = [recommender.vocabulary[row] for row in top(scores, K)]
            found = recommender.recommend([recommender.vocabulary[item] for item in prefix], K).items
            shared.append(len(set(found) & set(expected)) / K)
            same.append(found == expected)
    return {
        "sessions": len(shared),
        "overlap": round(float(np.mean(shared)), 6),
        "same_order": round(float(np.mean(same)), 4),
    }


def main(argv: Sequence[str] | None = None) -> int:
    command = parser("serve", __doc__, "--items 50000,100000 --http-items 100000 > serve.json")
    add = command.add_argument
    add(
        "--items",
        default="50000,100000,500000,1000000",
        help="sizes in process; empty for none (default: %(default)s)",
    )
    add("--artefact", type=Path, help="a trained archive to measure too, with its golden sessions")
    add("--questions", type=int, default=1000, help="requests to each contestant (default: %(default)s)")
    add("--http-items", type=int, default=100_000, help="size over HTTP; 0 for none (default: %(default)s)")
    add("--http-seconds", type=float, default=5.0, help="seconds at each rate (default: %(default)s)")
    add("--core", type=int, default=0, help="core to measure on; the HTTP client uses the others")
    add("--seed", type=int, default=0, help="seed of the shop (default: %(default)s)")
    options = command.parse_args(argv)
    every_core = os.sched_getaffinity(0)
    result: dict[str, Any] = {
        **conditions(
            "serve",
            seed=options.seed,
            data="generated: vectors in groups of 50, d=128, two layers, 200,000 past sessions",
        ),
        "in_process": [],
    }
    os.sched_setaffinity(0, {options.core})
    for items in [int(size) for size in options.items.split(",") if size]:
        recommender, prefixes = made_up(items, options.seed)
        with tempfile.TemporaryDirectory() as scratch:
            served, _ = load_recommender(write_archive(recommender, Path(scratch)))
            del recommender
            result["in_process"].append(in_process(served, prefixes, options.questions))
            del served
        print(json.dumps(result["in_process"][-1]), file=sys.stderr, flush=True)
        gc.collect()
    if options.artefact:
        served, card = load_recommender(options.artefact)
        golden = json.loads((options.artefact / ARCHIVE_GOLDEN).read_text("utf-8"))
        asked = [np.array([served.rows[item] for item in row["items"]], np.int32) for row in golden]
        result["in_process"].append(
            {"model_version": card.model_version, **in_process(served, asked, len(asked))}
        )
    if options.http_items:
        with tempfile.TemporaryDirectory() as scratch:
            recommender, prefixes = made_up(options.http_items, options.seed)
            model_dir = write_archive(recommender, Path(scratch) / "model")
            bodies = [
                json.dumps({"items": [recommender.vocabulary[item] for item in prefix], "k": K}).encode()
                for prefix in prefixes
            ]
            del recommender
            gc.collect()
            os.sched_setaffinity(0, (every_core - {options.core}) or every_core)
            result["http"] = {"items": options.http_items}
            for name, module, measured in (
                ("tugboat", "uvicorn", serve_http.ours),
                ("litserve", "litserve", serve_http.litserve),
                ("torchserve", "ts", serve_http.torchserve),
            ):
                result["http"][name] = (
                    measured(model_dir, bodies, options.core, options.http_seconds)
                    if importlib.util.find_spec(module)
                    else {"skipped": "pip install -r benchmarks/requirements-serve.txt"}
                )
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
