"""Measure training speed on a generated log of Yoochoose's or OTTO's size: one JSON line per batch size.

It trains with the training job's `fit` for --seconds after a warm-up, from random vectors, on a GPU if there is one.
It reports predicted clicks per second, their share of the device's measured ceilings (training_work.py),
and the time of each operation.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from benchmarks.click_logs import SIZES, generate
from benchmarks.conditions import conditions, parser
from benchmarks.training_work import Ceilings, Counter, Work, ceilings, synchronise
from training_jobs.serving.sessions import Sessions
from training_jobs.snapshot.dataset import no_content
from training_jobs.training.encoder_torch import Encoder, EncoderSettings
from training_jobs.training.fit_encoder import FitSettings, Job, fit

WARM_UP_STEPS = 5
PROFILED_STEPS = 10
# On a GPU, a step with fewer clicks takes longer to start its kernels than to run them.
GPU_BATCH_EVENTS = 32_768

Row = dict[str, Any]


class _Done(Exception):
    """Ends a fit after the measurement."""


class Watch:
    """A callback per step: it warms up, measures for a time, profiles a few more steps, then ends the fit."""

    def __init__(self, encoder: Encoder, device: torch.device, warm_up_s: float, seconds: float) -> None:
        self.device, self.warm_up_s, self.seconds = device, warm_up_s, seconds
        self.counter = Counter(encoder, self._batch_is_there)
        self.steps = self.warm_up_steps = 0
        self.elapsed_s = self.batches_s = 0.0
        self.losses: list[float] = []
        activities = [ProfilerActivity.CPU]
        if device.type == "cuda":
            activities.append(ProfilerActivity.CUDA)
        self.profile = profile(activities=activities)
        self._profiled: int | None = None
        self._began = self._last = time.perf_counter()

    def _batch_is_there(self) -> None:
        if self._profiled is None:
            self.batches_s += time.perf_counter() - self._last

    def step(self, events: int, loss: Tensor) -> None:
        if self._profiled is not None:
            self._profiled += 1
            if self._profiled == PROFILED_STEPS:
                synchronise(self.device)
                self.profile.stop()
                raise _Done
            return
        if not self.losses:
            self.losses.append(float(loss))
        now = time.perf_counter()
        if self.warm_up_steps < WARM_UP_STEPS or (self.steps == 0 and now - self._began < self.warm_up_s):
            self.warm_up_steps += 1
            synchronise(self.device)
            self._begin()
            return
        self.steps += 1
        self.counter.step(events)
        if now - self._started >= self.seconds:
            synchronise(self.device)
            self.elapsed_s = time.perf_counter() - self._started
            self.losses.append(float(loss))
            self._profiled = 0
            self.profile.start()
        self._last = time.perf_counter()

    def _begin(self) -> None:
        self._started = self._last = time.perf_counter()
        self.batches_s = 0.0

    def operations(self) -> list[tuple[str, float]]:
        """Return the seconds per profiled step by operation, longest first."""
        on_gpu = self.device.type == "cuda"
        found = [
            (str(entry.key), (entry.self_device_time_total if on_gpu else entry.self_cpu_time_total) / 1e6)
            for entry in self.profile.key_averages()
            if entry.device_type.name == "CPU"
        ]
        return sorted(((name, s / PROFILED_STEPS) for name, s in found if s > 0), key=lambda part: -part[1])


def measure(
    sessions: Sessions,
    items: int,
    encoder_settings: EncoderSettings,
    settings: FitSettings,
    device: torch.device,
    top: Ceilings,
    warm_up_s: float,
    seconds: float,
    seed: int,
) -> Row:
    torch.manual_seed(seed)
    encoder = Encoder(items, encoder_settings, no_content(items)).to(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    watch = Watch(encoder, device, warm_up_s, seconds)
    # So many epochs keep the learning rate constant during the measurement.
    endless = replace(settings, epochs=10**6, warmup_share=0.0)
    with contextlib.suppress(_Done):
        fit(encoder, sessions, endless, Job(seed), "learn", on_step=watch.step)
    return described(watch, settings, top)


def described(watch: Watch, settings: FitSettings, top: Ceilings) -> Row:
    work, seconds, steps = watch.counter.work, watch.elapsed_s, watch.steps
    operations = watch.operations()
    on_device_s = sum(s for _, s in operations)
    row: Row = {
        "batch_events": settings.batch_events,
        "events_per_s": round(work.positions / seconds),
        "events_per_s_at_ceilings": round(work.positions / _ideal_seconds(work, top)),
        "steps": steps,
        "warm_up_steps": watch.warm_up_steps,
        "events_per_step": round(work.positions / steps),
        "padding_share": round(1 - work.positions / work.padded, 4),
        "milliseconds_per_step": round(1e3 * seconds / steps, 3),
        # The time before the encoder: choose and gather sessions, draw candidates; on a GPU, start that work.
        "milliseconds_to_batch": round(1e3 * watch.batches_s / steps, 3),
        "flops_per_s": _digits(work.flops / seconds),
        "flops_share_of_ceiling": _digits(work.flops / seconds / top.flops_per_s),
        "softmax_share_of_flops": round(work.softmax_flops / work.flops, 4),
        "bytes_per_s": _digits(work.bytes / seconds),
        "bytes_share_of_ceiling": _digits(work.bytes / seconds / top.bytes_per_s),
        "loss_first": round(watch.losses[0], 4),
        "loss_last": round(watch.losses[-1], 4),
        "peak_memory_gib": {"host": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)},
        "operations": {name: round(s / on_device_s, 4) for name, s in operations[:12]},
    }
    if watch.device.type == "cuda":
        row["device_busy_share"] = round(on_device_s * steps / seconds, 4)
        row["peak_memory_gib"]["device"] = round(torch.cuda.max_memory_allocated(watch.device) / 2**30, 2)
    return row


def _ideal_seconds(work: Work, top: Ceilings) -> float:
    """Return the time at both ceilings: products first, then memory, because the optimizer starts after the products."""
    return work.flops / top.flops_per_s + work.bytes / top.bytes_per_s


def _digits(value: float) -> float:
    return float(f"{value:.4g}")


def arguments() -> argparse.ArgumentParser:
    command = parser("training_speed", __doc__, "--size yoochoose --events 300000 --seconds 20")
    add = command.add_argument
    add("--size", choices=sorted(SIZES), default="yoochoose", help="size of the log (default %(default)s)")
    add("--events", type=int, default=0, help="clicks of a smaller log; 0 for all of the size")
    add("--items", type=int, default=0, help="items of a smaller log; 0 for all of the size")
    add("--batch-events", type=int, nargs="+", help="one line each (default: the job's; on a GPU 32,768)")
    add("--seconds", type=float, default=20.0, help="time to measure (default %(default)s)")
    add("--warm-up-seconds", type=float, default=5.0, help="shortest warm-up (default %(default)s)")
    add("--device", choices=["auto", "cuda", "cpu"], default="auto", help="auto: a GPU if there is one")
    add("--threads", type=int, default=0, help="threads of torch; 0 for torch's default")
    add("--seed", type=int, default=0, help="seed of the log and the training (default %(default)s)")
    return command


def main(argv: Sequence[str] | None = None) -> int:
    options = arguments().parse_args(argv)
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.device == "auto":
        options.device = "cuda" if torch.cuda.is_available() else "cpu"
    if options.device == "cuda" and not torch.cuda.is_available():
        print("training_speed: torch finds no GPU here: run without --device", file=sys.stderr)
        return 1
    device, size = torch.device(options.device), SIZES[options.size]
    size = replace(size, events=options.events or size.events, items=options.items or size.items)
    about = conditions("training_speed", data=f"generated log, size {options.size}", seed=options.seed)
    about |= {"torch": torch.__version__, "threads": torch.get_num_threads()}
    about["device"] = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    began = time.perf_counter()
    sessions = generate(size, options.seed)
    about["log"] = {
        "size": options.size,
        "events": len(sessions.items),
        "sessions": len(sessions),
        "items": size.items,
        "seconds_to_generate": round(time.perf_counter() - began, 1),
    }
    top = ceilings(device)
    about["ceilings"] = {
        "flops_per_s": _digits(top.flops_per_s),
        "product": top.product,
        "bytes_per_s": _digits(top.bytes_per_s),
        "copy": top.copy,
    }
    usual = GPU_BATCH_EVENTS if device.type == "cuda" else FitSettings().batch_events
    for batch in options.batch_events or [usual]:
        row = measure(
            sessions,
            size.items,
            EncoderSettings(),
            FitSettings(batch_events=batch),
            device,
            top,
            options.warm_up_seconds,
            options.seconds,
            options.seed,
        )
        print(json.dumps(about | row), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
