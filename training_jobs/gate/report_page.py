"""evaluation.html: one page that needs nothing else, for the person who decides. Its words are in report_page.html.jinja."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2

from training_jobs.serving.contract import EVENT_STRENGTHS

_LABELS = {
    "candidate": "candidate",
    "champion": "champion",
    "session_knn": "session-kNN",
    "item_to_item": "item-to-item",
    "popularity": "popularity",
}
_KINDS = dict(zip(EVENT_STRENGTHS, ("viewed", "put into the cart", "bought"), strict=True))
_BAR_PLOTS = {"Hit rate at 20": "hr_at_20", "MRR at 20": "mrr_at_20"}
_SHOWN_METRICS = (
    "hr_at_1",
    "hr_at_5",
    "hr_at_10",
    "hr_at_20",
    "mrr_at_20",
    "ndcg_at_20",
    "revenue_hr_at_20",
    "revenue_ndcg_at_20",
    "coverage",
    "gini",
    "popularity_ratio",
)


def render(result: Mapping[str, Any]) -> str:
    """Return the whole page."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    environment.filters["fixed"] = lambda number, digits: f"{float(number):.{digits}f}"
    metrics: Mapping[str, Mapping[str, Any]] = result["metrics"]
    models = {name: metrics[name] for name in _LABELS if name in metrics}
    return environment.get_template("report_page.html.jinja").render(
        result={"override_reason": None, "warnings": [], **result},
        verdict="passed" if result["passed"] else "failed",
        since=datetime.fromtimestamp(result["holdout_start_ms"] / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC"),
        labels=_LABELS,
        models=models,
        # A snapshot without prices has no figures of revenue.
        shown_metrics=[name for name in _SHOWN_METRICS if all(name in one for one in models.values())],
        bar_plots={title: _bars(models, metric) for title, metric in _BAR_PLOTS.items()},
        curves=_curves(result["hit_rates"]),
        gains=_gains(result["checks"]),
        slices=_slices(result["slices"], list(models)),
        placements=result.get("placements", {}),
        target_kinds=_target_kinds(result.get("target_kinds", {})),
    )


def _target_kinds(kinds: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return one row per kind and model, and the metrics that all of them have. A kind of too few cases has no model."""
    rows: list[dict[str, Any]] = []
    for kind, found in kinds.items():
        models = [(name, found["models"][name]) for name in _LABELS if name in found["models"]]
        for model, figures in models or [("", {})]:
            rows.append({"kind": _KINDS[kind], "cases": found["cases"], "model": model, "figures": figures})
    measured = [row["figures"] for row in rows if row["figures"]]
    shown = [name for name in _SHOWN_METRICS if measured and all(name in one for one in measured)]
    return {"rows": rows, "metrics": shown}


def _bars(models: Mapping[str, Mapping[str, Any]], metric: str) -> list[dict[str, Any]]:
    """Return one bar per model, scaled to the highest end of an interval."""
    widest = max((float(m[f"{metric}_interval"][1]) for m in models.values()), default=0.0) or 1.0
    scale = 200 / widest
    bars = []
    for at, (name, figures) in enumerate(models.items()):
        value, (low, high) = float(figures[metric]), figures[f"{metric}_interval"]
        ends = {"width": value * scale, "low": 92 + low * scale, "high": 92 + high * scale}
        bars.append({"model": name, "y": 8 + at * 26, "value": value, **ends})
    return bars


def _curves(hit_rates: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Return one line per model, the candidate last so that it is drawn over the others."""
    ordered = [name for name in _LABELS if name in hit_rates]
    highest = max((max(hit_rates[name]) for name in ordered), default=0.0) or 1.0
    lines = []
    for at, name in enumerate(reversed(ordered)):
        points = [
            (34 + k * 10.5, 150 - 135 * value / highest) for k, value in enumerate(hit_rates[name], start=1)
        ]
        color, dash = _line_of(name)
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        lines.append({"model": name, "points": path, "y": 150 - 14 * at, "color": color, "dash": dash})
    return {"highest": highest, "lines": lines}


def _line_of(name: str) -> tuple[str, str]:
    color = "var(--main)" if name == "candidate" else "var(--ink)" if name == "champion" else "var(--other)"
    return color, {"item_to_item": "6 3", "popularity": "2 3"}.get(name, "none")


def _gains(checks: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return one point per comparison over all cases, with its interval round zero."""
    shown = [row for row in checks if row["against"] in _LABELS and row["slice"] == "all" and row["interval"]]
    widest = max((abs(end) for row in shown for end in row["interval"]), default=0.0) or 1.0
    gains = []
    for at, row in enumerate(shown):
        x, left, right = (240 + 90 * value / widest for value in (row["value"], *row["interval"]))
        gains.append(
            {"row": row, "label": _short(row), "y": 16 + at * 20, "x": x, "left": left, "right": right}
        )
    return gains


def _short(row: Mapping[str, Any]) -> str:
    metric = str(row["name"]).split(" ")[0].replace("_at_", "@")
    return f"{metric}, {'served' if row['against'] == 'candidate' else _LABELS[row['against']]}"


def _slices(slices: Mapping[str, Mapping[str, float]], models: Sequence[str]) -> list[dict[str, Any]]:
    """Return one row per slice, with the models' hit rates; a slice without cases has none."""
    return [
        {
            "name": name,
            "y": 16 + at * 24,
            "n": int(values["n"]),
            "dots": [(model, float(values[model])) for model in reversed(models)] if values["n"] else [],
        }
        for at, (name, values) in enumerate(slices.items())
    ]
