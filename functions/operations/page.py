"""The operations page as one HTML file without requests of its own. Its words are in page.html.jinja."""

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import jinja2

from functions.operations import charts
from functions.operations.data import moment
from functions.operations.metrics import HOURS
from functions.operations.model import Operations, Run, Runs, Verdict
from functions.operations.reports import data_checks_uri, evaluation_uri
from functions.operations.verdict import usual_seconds

# Runs that the comparison offers, and curves that are drawn.
COMPARED, CURVES = 12, 3
# Metrics of the gate whose trend is shown.
TRENDS = ("hr_at_20", "mrr_at_20")
# The models of the gate that a candidate is compared with in the table of verdicts.
BASELINES = {"champion": "champion", "session_knn": "session-kNN"}
STATUS_WORDS = {
    "SUCCEEDED": "succeeded",
    "FAILED": "failed",
    "TIMED_OUT": "timed out",
    "ABORTED": "stopped",
    "RUNNING": "running",
    "SKIPPED": "no model yet",
}


class Artifact(NamedTuple):
    """One artifact and the runs that made or used it."""

    kind: str
    id: str
    name: str
    full: str
    runs: list[str]


def render(page: Operations, verdict: Verdict) -> str:
    """Return the HTML."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "figure": figure,
        "percent": percent,
        "usd": usd,
        "took": took,
        "moment": moment,
        "clock": lambda at: f"{at:%Y-%m-%d %H:%M}" if at else "",
        "age": lambda at: took((page.built_at - at).total_seconds()) if at else "no data",
        "status": lambda status: STATUS_WORDS.get(status, status.lower()),
    }
    runs = page.runs.value or Runs([])
    kinds = artifacts(page, runs)
    return environment.get_template("page.html.jinja").render(
        page=page,
        verdict=verdict,
        runs=runs.newest,
        all_runs=runs,
        latest=runs.newest[0] if runs.newest else None,
        usual={run.run_id: usual_seconds(runs, run) for run in runs.newest},
        artifacts=kinds,
        links={(one.kind, run_id): one for found in kinds.values() for one in found for run_id in one.runs},
        duration_bars=charts.durations(runs.newest, page.built_at),
        charts=charts,
        hours=HOURS,
        curves=[run for run in runs.newest if run.evaluation and run.evaluation.curve][:CURVES],
        trends=trends(runs.newest),
        compared=[comparable(run, page.built_at) for run in runs.newest[:COMPARED]],
        addresses=page.reports.value.addresses if page.reports.value else {},
        data_checks_uri=data_checks_uri,
        evaluation_uri=lambda run: evaluation_uri(run, page.models_bucket),
        baselines=BASELINES,
        chosen=chosen(runs.newest[:COMPARED]),
    )


def artifacts(page: Operations, runs: Runs) -> dict[str, list[Artifact]]:
    """Return the artifacts of each kind, newest first, each with its runs."""
    found: dict[str, list[Artifact]] = {}
    for kind, pairs in {
        "snapshot": (((run.snapshot or {}).get("manifest_uri", ""), run) for run in runs.newest),
        "code": ((run.training.code_uri, run) for run in runs.newest if run.training),
        "image": ((run.training.image, run) for run in runs.newest if run.training),
        "model": ((_model_of(run), run) for run in runs.newest),
        "release": ((run.published.config, run) for run in runs.newest if run.published),
    }.items():
        of_kind = _grouped(kind, pairs)
        if kind == "release":
            of_kind = _with_places(of_kind, page)
        found[kind] = of_kind
    return found


def _model_of(run: Run) -> str:
    if run.evaluation and run.evaluation.model_version:
        return run.evaluation.model_version
    return run.training.job if run.training else ""


def _grouped(kind: str, pairs: Iterable[tuple[str, Run]]) -> list[Artifact]:
    by_name: dict[str, list[str]] = {}
    for full, run in pairs:
        if full:
            by_name.setdefault(full, []).append(run.run_id)
    return [
        Artifact(kind, f"{kind}-{re.sub(r'[^A-Za-z0-9-]+', '-', full)}", short(kind, full), full, run_ids)
        for full, run_ids in by_name.items()
    ]


def _with_places(found: list[Artifact], page: Operations) -> list[Artifact]:
    """Name the releases on record, and add those whose run is no longer listed."""
    for row in (row for serving in page.serving.value or () for row in serving.releases):
        known = next((index for index, one in enumerate(found) if one.full == row.config), None)
        if known is None:
            found.append(
                Artifact(
                    "release",
                    f"release-{row.config}",
                    f"{row.config} ({row.place})",
                    row.config,
                    [row.run_id],
                )
            )
        else:
            found[known] = found[known]._replace(name=f"{row.config} ({row.place})")
    return found


def short(kind: str, full: str) -> str:
    """Return the part of an artifact's address that tells it from others."""
    if kind == "code":
        return full.rsplit("/", 1)[-1].removesuffix(".tar.gz")[:12]
    if kind == "image":
        return full.rsplit("/", 1)[-1]
    if kind == "snapshot":
        return full.removesuffix("/manifest.json").rsplit("/", 1)[-1]
    return full


def trends(runs: list[Run]) -> list[dict[str, Any]]:
    """Return a curve per metric of the gate, for the candidate and for the best baseline, over the runs."""
    judged = [run for run in reversed(runs) if run.evaluation]
    found = []
    for metric in TRENDS:
        for model in ("candidate", "champion"):
            values = [
                run.evaluation.metrics[model][metric]
                for run in judged
                if run.evaluation and metric in run.evaluation.metrics.get(model, {})
            ]
            drawn = charts.curve(values)
            if drawn:
                found.append({"metric": metric, "model": model, "curve": drawn})
    return found


def chosen(runs: list[Run]) -> tuple[int, int]:
    """Return the places of the two newest runs with a verdict of the gate, else of the two newest."""
    judged = [place for place, run in enumerate(runs) if run.evaluation]
    return (judged[1], judged[0]) if len(judged) > 1 else (1, 0)


def comparable(run: Run, now: datetime) -> dict[str, Any]:
    """Return what the comparison shows of a run: groups of names and texts."""
    evaluation, training, snapshot = run.evaluation, run.training, run.snapshot or {}
    candidate = evaluation.metrics.get("candidate", {}) if evaluation else {}
    groups: dict[str, dict[str, str]] = {
        "Run": {
            "started": f"{run.started_at:%Y-%m-%d %H:%M} UTC",
            "result": STATUS_WORDS.get(run.status, run.status),
            "took": took(run.seconds(now)),
            "tries of one step": str(run.tries),
            "input": _text(run.options) or "defaults",
        },
        "Data": {
            "events loaded": _text((run.loaded or {}).get("rows_loaded")),
            **{name: _text(snapshot.get(name)) for name in ("interactions", "sessions", "items")},
        },
        "Settings": {
            **(training.settings if training else {}),
            **{name: _text(value) for name, value in _flat(evaluation.settings if evaluation else {})},
            **(
                {"code": short("code", training.code_uri), "image": short("image", training.image)}
                if training
                else {}
            ),
        },
        "Metrics": {name: figure(value) for name, value in candidate.items()},
        "Checks": {
            " ".join(filter(None, (one.name, one.slice, one.against))): f"{one.verdict}, {figure(one.value)}"
            for one in (evaluation.checks if evaluation else ())
        },
    }
    # Pairs instead of mappings: a JSON object would lose the order.
    rows = [(name, list(values.items())) for name, values in groups.items() if any(values.values())]
    return {"run_id": run.run_id, "groups": rows}


def _flat(values: dict[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return figure(value)
    if isinstance(value, dict):
        return ", ".join(f"{name}={inner}" for name, inner in value.items())
    return str(value)


def figure(value: float | None) -> str:
    """Format a number: whole numbers with separators, others with three significant digits."""
    if value is None:
        return "no data"
    if float(value).is_integer() or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def percent(share: float | None) -> str:
    """Format a share, or say that there is no data."""
    if share is None:
        return "no data"
    return f"{share:.1%}" if 0 < share < 0.1 else f"{share:.0%}"


def usd(amount: float) -> str:
    """Format an amount in dollars."""
    return f"${amount:,.2f}" if amount >= 0.005 or amount == 0 else "< $0.01"


def took(seconds: float | None) -> str:
    """Format a duration in at most two units."""
    if seconds is None:
        return "no data"
    if seconds < 60:
        return f"{max(seconds, 0):.0f} s"
    whole = timedelta(seconds=round(seconds))
    minutes, hours_, days = whole.seconds // 60 % 60, whole.seconds // 3600, whole.days
    if days:
        return f"{days} d {hours_} h"
    if hours_:
        return f"{hours_} h {minutes} min"
    return f"{minutes} min {whole.seconds % 60} s"
