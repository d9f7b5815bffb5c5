"""The gate's thresholds, read once from thresholds.json. A missing, misspelt or mistyped key stops the job at its start."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

THRESHOLDS = Path(__file__).with_name("thresholds.json")


class ThresholdsError(ValueError):
    """The file of thresholds cannot be used; the message names the file, the key and the allowed keys."""


@dataclass(frozen=True)
class Margin:
    """The margin by which the candidate may be worse than another model, for each metric."""

    hr_at_20: float
    mrr_at_20: float


@dataclass(frozen=True)
class Thresholds:
    """One field per key of thresholds.json. docs/gate.md lists the checks that use them."""

    minimum_cases: int
    minimum_slice_cases: int
    minimum_hr_at_20: float
    family_error: float
    family_rows: int
    margin: Margin
    slice_margin: float
    target_slice_margin: float
    minimum_coverage_of_active_items: float
    maximum_popularity_ratio: float
    maximum_gini: float
    same_category_tolerance: float
    price_distance_tolerance: float
    maximum_calibration_error: float
    reproduction_tolerance: float
    reach_minimum_clicks: int
    minimum_reach: float
    surge_minimum_clicks: int
    surge_best_sellers: int
    maximum_surge: float
    network_minimum_share: float
    maximum_network_share: float
    served_tolerance: float
    minimum_placement_cases: int
    placement_margin: float
    minimum_releases: int
    lead_margin: float
    maximum_cross_overlap: float
    maximum_padding_difference: float
    minimum_duplicate_overlap: float
    minimum_swap_overlap: float
    minimum_similar_overlap: float
    minimum_recency_effect: float
    minimum_golden_overlap: float
    minimum_variant_overlap: float
    latency_p50_cpu_ms: float
    latency_p99_cpu_ms: float
    maximum_archive_bytes: int
    probes: int


def with_bounds(bounds: Mapping[str, float], path: Path = THRESHOLDS) -> Thresholds:
    """Read and validate a file of thresholds with a shop's own bounds. A key such as `margin.hr_at_20` is nested.

    Raises:
        ThresholdsError: the file is not JSON, or a key is missing, unknown or of another type.
    """
    try:
        raw = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ThresholdsError(
            f"{path} is not readable JSON ({error}): restore it from {THRESHOLDS}"
        ) from error
    for name, bound in bounds.items():
        outer, _, inner = name.partition(".")
        if inner and isinstance(raw.get(outer), dict):
            raw[outer][inner] = bound
        else:
            raw[name] = bound
    margin = _built(Margin, raw.get("margin") if isinstance(raw, dict) else None, path, "margin.")
    return Thresholds(**_values(Thresholds, raw, path, "") | {"margin": margin})


def read_thresholds(path: Path = THRESHOLDS) -> Thresholds:
    """Read and validate a file of thresholds. It raises what `with_bounds` raises."""
    return with_bounds({}, path)


def _built(kind: type[Margin], raw: Any, path: Path, prefix: str) -> Margin:
    return kind(**_values(kind, raw, path, prefix))


def _values(kind: type[Any], raw: Any, path: Path, prefix: str) -> dict[str, Any]:
    """Return the values of `raw` by field, after comparing keys and types with the fields of `kind`."""
    types = get_type_hints(kind)
    names = [field.name for field in dataclasses.fields(kind)]
    allowed = f"allowed keys: {', '.join(prefix + name for name in names)}"
    if not isinstance(raw, dict):
        raise ThresholdsError(f"{path}: {prefix.rstrip('.') or 'the file'} must be a JSON object; {allowed}")
    for name in raw:
        if name not in names:
            raise ThresholdsError(f"{path} has the unknown key {prefix}{name}; {allowed}")
    for name in names:
        if name not in raw:
            raise ThresholdsError(f"{path} lacks the key {prefix}{name}; {allowed}")
        number = int if types[name] is int else (int, float)
        if types[name] in (int, float) and (isinstance(raw[name], bool) or not isinstance(raw[name], number)):
            raise ThresholdsError(
                f"{path}: {prefix}{name} is {raw[name]!r}, must be of type {types[name].__name__}; {allowed}"
            )
    return {
        name: float(value) if types[name] is float else value for name, value in raw.items() if name in names
    }
