"""The memory that a job may use, and the memory that training on a snapshot needs."""

from __future__ import annotations

import os
from pathlib import Path

from training_jobs.snapshot.dataset import DataError

GIB = 2**30
# Measured on a CPU and rounded up (docs/recommender.md has the figures). Python, torch and 100,000 items take the base.
BASE_BYTES = GIB
# Per interaction: while the runs of rows are sorted, and afterwards. Items and times are in mapped files and do not count.
READ_BYTES = 25
HELD_BYTES = 5
# Per interaction whose pairs the warm start counts. It takes a sample of at most this many.
PAIRS_BYTES = 900
PAIRS_INTERACTIONS = 5_000_000
# Memory in GiB of the sizes that ml.m7i (CPU) and ml.g5 (GPU) both have.
SIZES_GIB = {"xlarge": 16, "2xlarge": 32, "4xlarge": 64, "8xlarge": 128, "16xlarge": 256, "24xlarge": 384}
CGROUP_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),  # version 2
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),  # version 1
)


def memory_limit(cgroup_limits: tuple[Path, ...] = CGROUP_LIMITS) -> int:
    """Return the memory of the container in bytes: its own limit, or the machine's memory if that is less."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in cgroup_limits:
        try:
            limit = path.read_text("ascii").strip()
        except OSError:
            continue
        if limit.isdigit():  # "max" is no limit
            limits.append(int(limit))
    return min(limits)


def require_memory(interactions: int, limit: int) -> None:
    """Refuse a snapshot that this container cannot train on, before the kernel kills the job without a reason.

    Raises:
        DataError: the snapshot needs more memory than `limit`. The message names instance types that have enough.
    """
    needed = needed_bytes(interactions)
    if needed <= limit:
        return
    # An instance's container sees a little less than the instance has.
    size = next((size for size, gib in SIZES_GIB.items() if needed <= 0.9 * gib * GIB), None)
    instance = (
        f"an ml.m7i.{size} or ml.g5.{size}"
        if size
        else "more than any instance listed in training_jobs/snapshot/memory.py"
    )
    fitting = interactions_within(limit)
    raise DataError(
        f"training on {interactions:,} interactions needs {needed / GIB:.1f} GiB of memory, and this container has "
        f"{limit / GIB:.1f} GiB: set training_instance_type and processing_instance_type in deploy/stages.toml to {instance}, "
        f"or lower training_days there to {fitting / interactions:.0%} of the days ({fitting:,} interactions)"
    )


def needed_bytes(interactions: int) -> int:
    """Return the peak memory of a training job: while it reads, or during its warm start."""
    warm_start = interactions * HELD_BYTES + min(interactions, PAIRS_INTERACTIONS) * PAIRS_BYTES
    return BASE_BYTES + max(warm_start, interactions * READ_BYTES)


def interactions_within(limit: int) -> int:
    """Return the number of interactions that a training job in a container with this memory can have."""
    free = max(0, limit - BASE_BYTES)
    warm_start = free // (PAIRS_BYTES + HELD_BYTES)
    if warm_start >= PAIRS_INTERACTIONS:
        warm_start = (free - PAIRS_INTERACTIONS * PAIRS_BYTES) // HELD_BYTES
    return min(warm_start, free // READ_BYTES)
