"""The memory of a container, and the refusal of a snapshot that needs more."""

from pathlib import Path

import botocore.session
import pytest

from training_jobs.snapshot.dataset import DataError
from training_jobs.snapshot.memory import (
    GIB,
    SIZES_GIB,
    interactions_within,
    memory_limit,
    needed_bytes,
    require_memory,
)


def test_the_limit_of_the_container_counts_where_it_is_below_the_machine_s(tmp_path: Path) -> None:
    version_2, version_1, missing = tmp_path / "memory.max", tmp_path / "limit_in_bytes", tmp_path / "none"
    version_2.write_text("max\n")
    machine = memory_limit((version_2, missing))
    assert machine > 2**28
    version_1.write_text(f"{2**63 - 4096}\n")  # version 1 writes this where there is no limit
    assert memory_limit((version_2, version_1)) == machine
    version_2.write_text(f"{2**28}\n")
    assert memory_limit((version_2, version_1)) == 2**28


def test_the_memory_of_this_container_is_read_without_arguments() -> None:
    assert memory_limit() <= memory_limit(())


def test_the_refusal_names_the_smallest_instance_that_fits_and_the_share_that_fits_here() -> None:
    interactions = 1_000_000_000
    needed = needed_bytes(interactions)
    size = next(size for size, gib in SIZES_GIB.items() if gib * GIB * 0.9 >= needed)
    with pytest.raises(DataError) as refused:
        require_memory(interactions, 15 * GIB)
    message = str(refused.value)
    assert "1,000,000,000 interactions" in message
    assert "15.0 GiB" in message
    assert f"ml.m7i.{size} or ml.g5.{size}" in message
    assert f"({interactions_within(15 * GIB):,} interactions)" in message


@pytest.mark.parametrize("interactions", [0, 1000, 4_999_999, 5_000_001, 300_000_000])
def test_the_number_that_fits_needs_the_memory_that_there_is(interactions: int) -> None:
    assert interactions_within(needed_bytes(interactions)) == interactions
    require_memory(interactions, needed_bytes(interactions))


def test_a_snapshot_too_large_for_every_instance_names_none() -> None:
    with pytest.raises(DataError, match="more than any instance") as refused:
        require_memory(10**12, 15 * GIB)
    assert "ml.m7i" not in str(refused.value)


@pytest.mark.parametrize("kind", ["TrainingInstanceType", "ProcessingInstanceType"])
def test_sagemaker_has_the_instances_that_a_refusal_names(kind: str) -> None:
    offered = botocore.session.get_session().get_service_model("sagemaker").shape_for(kind).enum
    assert {f"ml.{family}.{size}" for family in ("m7i", "g5") for size in SIZES_GIB} <= set(offered)
