"""Write evaluation.html: one self-contained page for the person who decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any

_LABELS = {
    "candidate": "candidate",
    "champion": "champion",
    "session_knn": "session-kNN",
    "item_to_item": "item-to-item",
    "popularity": "popularity",
}
_STYLE = """
:root{color-scheme:light dark;--ink:#1b2430;--dim:#66727f;--line:#dfe4ea;--paper:#fff;--card:#f6f8fa;--good:#1a7f4b;
--bad:#c0392b;--skip:#9a6b00;--main:#1f6feb;--other:#a9b6c4}
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--dim:#93a1b0;--line:#2c3641;--paper:#0f151b;--card:#171f27;
--good:#4cc38a;--bad:#ff7b72;--skip:#e3b341;--main:#6cb0ff;--other:#51606f}}
*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:960px;margin:0 auto;padding:32px 20px 64px}h1{font-size:24px;margin:0 0 4px}h2{font-size:17px;margin:36px 0 10px}
.dim{color:var(--dim)}.verdict{display:inline-block;padding:3px 12px;border-radius:99px;font-weight:600;color:#fff}
.verdict.passed{background:#1a7f4b;color:#fff}.verdict.failed{background:#c0392b;color:#fff}
.fail{border-left:4px solid var(--bad);background:var(--card);
padding:10px 16px;margin:16px 0}.fail ul{margin:4px 0 0;padding-left:18px}.plots{display:grid;gap:16px;
grid-template-columns:repeat(auto-fit,minmax(300px,1fr))}.plot{background:var(--card);border-radius:8px;padding:12px 14px}
.plot h3{margin:0 0 6px;font-size:14px}svg{width:100%;height:auto;display:block}
svg text{font:11px system-ui,sans-serif;fill:var(--ink)}
svg .dim{fill:var(--dim)}table{border-collapse:collapse;width:100%;font-size:14px}th,td{padding:5px 8px;text-align:left;
border-bottom:1px solid var(--line)}td.n,th.n{text-align:right;white-space:nowrap;
font-variant-numeric:tabular-nums}.passed{color:var(--good)}
.failed{color:var(--bad);font-weight:600}.skipped{color:var(--skip)}.reported{color:var(--dim)}.scroll{overflow-x:auto}
"""


def render(result: Mapping[str, Any]) -> str:
    """Return the whole page."""
    verdict = "passed" if result["passed"] else "failed"
    since = datetime.fromtimestamp(result["holdout_start_ms"] / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
    metrics: Mapping[str, Mapping[str, Any]] = result["metrics"]
    ordered = {name: metrics[name] for name in _LABELS if name in metrics}
    plots = _bars("Hit rate at 20", ordered, "hr_at_20") + _bars("MRR at 20", ordered, "mrr_at_20")
    plots += _curves("Hit rate by length of the list", result["hit_rates"])
    plots += _gains("Gain over the others, with the interval that decides", result["checks"])
    plots += _reliability("Chance of a hit: said and come true", result["reliability"])
    plots += _grouped("Hit rate at 20 by slice", result["slices"], list(ordered))
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Evaluation of {escape(str(result["model_version"]))}</title><style>{_STYLE}</style></head><body><main>
<h1>Evaluation of {escape(str(result["model_version"]))} <span class="verdict {verdict}">{verdict}</span></h1>
<p class="dim">Snapshot {escape(str(result["snapshot_id"]))}. {result["cases"]:,} next clicks from {since} on, none of them
seen in training. Champion: {escape(str(result["champion"]))}.</p>
{_failures(result)}
<div class="plots">{plots}</div>
<h2>Models</h2><div class="scroll">{_models(ordered)}</div>
<h2>Checks</h2><p class="dim">{_tally(result["checks"])}</p>
<div class="scroll">{_checks(result["checks"])}</div>
</main></body></html>
"""


def _failures(result: Mapping[str, Any]) -> str:
    if not result["failures"]:
        return ""
    rows = "".join(f"<li>{escape(reason)}</li>" for reason in result["failures"])
    override = result.get("override_reason")
    note = f"<p>Published all the same: {escape(override)}</p>" if override else ""
    return f'<div class="fail"><b>What failed</b><ul>{rows}</ul>{note}</div>'


def _bars(title: str, models: Mapping[str, Mapping[str, Any]], metric: str) -> str:
    """Draw horizontal bars with their 95 % interval as a whisker."""
    widest = max((float(m[f"{metric}_interval"][1]) for m in models.values()), default=0.0) or 1.0
    rows = []
    for at, (name, figures) in enumerate(models.items()):
        y, scale = 8 + at * 26, 200 / widest
        value, (low, high) = float(figures[metric]), figures[f"{metric}_interval"]
        colour = "var(--main)" if name == "candidate" else "var(--other)"
        rows.append(
            f'<text x="86" y="{y + 12}" text-anchor="end">{_LABELS[name]}</text>'
            f'<rect x="92" y="{y}" width="{value * scale:.1f}" height="16" rx="3" fill="{colour}"/>'
            f'<path d="M{92 + low * scale:.1f} {y + 8}H{92 + high * scale:.1f}" stroke="var(--ink)" stroke-width="1.5"/>'
            f'<text x="{100 + high * scale:.1f}" y="{y + 12}">{value:.3f}</text>'
        )
    height = 14 + 26 * len(models)
    return _plot(title, height, "".join(rows))


def _grouped(title: str, slices: Mapping[str, Mapping[str, float]], models: Sequence[str]) -> str:
    """Draw a row of dots per slice: the candidate filled, the others in outline."""
    rows = []
    for at, (name, values) in enumerate(slices.items()):
        y = 16 + at * 24
        dots = "".join(
            f'<circle cx="{162 + 120 * float(values[model]):.1f}" cy="{y}" r="4.5" '
            + (
                'fill="var(--main)"'
                if model == "candidate"
                else 'fill="none" stroke="var(--other)" stroke-width="2"'
            )
            + f"><title>{_LABELS[model]} {float(values[model]):.3f}</title></circle>"
            for model in reversed(models)
        )
        rows.append(
            f'<text x="152" y="{y + 4}" text-anchor="end">{escape(name[-26:])}</text>'
            f'<path d="M162 {y}H282" stroke="var(--line)"/>{dots if values["n"] else ""}'
            f'<text class="dim" x="334" y="{y + 4}" text-anchor="end">n {int(values["n"]):,}</text>'
        )
    height = 14 + 24 * len(slices)
    return _plot(title, height, "".join(rows))


def _curves(title: str, hit_rates: Mapping[str, Sequence[float]]) -> str:
    """Draw a line per model: hit rate at 1, 2, ... 20."""
    ordered = [name for name in _LABELS if name in hit_rates]
    highest = max((max(hit_rates[name]) for name in ordered), default=0.0) or 1.0
    lines = []
    for at, name in enumerate(reversed(ordered)):
        points = [
            (34 + k * 10.5, 150 - 135 * value / highest) for k, value in enumerate(hit_rates[name], start=1)
        ]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        colour, dash = _line_of(name)
        lines.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"/>'
            f'<text x="250" y="{150 - 14 * at}">{_LABELS[name]}</text>'
            f'<path d="M336 {146 - 14 * at}h-18" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"/>'
        )
    axis = (
        '<path d="M34 12V150H246" fill="none" stroke="var(--line)"/>'
        f'<text class="dim" x="30" y="18" text-anchor="end">{highest:.2f}</text>'
        '<text class="dim" x="30" y="154" text-anchor="end">0</text>'
        '<text class="dim" x="44" y="165" text-anchor="middle">1</text>'
        '<text class="dim" x="244" y="165" text-anchor="middle">20</text>'
    )
    return _plot(title, 170, axis + "".join(lines))


def _line_of(name: str) -> tuple[str, str]:
    colour = "var(--main)" if name == "candidate" else "var(--ink)" if name == "champion" else "var(--other)"
    return colour, {"item_to_item": "6 3", "popularity": "2 3"}.get(name, "none")


def _gains(title: str, checks: Sequence[Mapping[str, Any]]) -> str:
    """Draw the differences from each other model over all cases, as points with whiskers around zero."""
    shown = [row for row in checks if row["against"] in _LABELS and row["slice"] == "all" and row["interval"]]
    widest = max((abs(end) for row in shown for end in row["interval"]), default=0.0) or 1.0
    rows = []
    for at, row in enumerate(shown):
        y, (low, high) = 16 + at * 20, row["interval"]
        x, left, right = (240 + 90 * value / widest for value in (row["value"], low, high))
        colour = "var(--bad)" if row["verdict"] == "failed" else "var(--main)"
        rows.append(
            f'<text x="142" y="{y + 4}" text-anchor="end">{escape(_short(row))}</text>'
            f'<path d="M{left:.1f} {y}H{right:.1f}" stroke="{colour}" stroke-width="1.5"/>'
            f'<circle cx="{x:.1f}" cy="{y}" r="4" fill="{colour}"><title>{row["value"]:.4f}</title></circle>'
        )
    height = 14 + 20 * len(shown)
    return _plot(title, height, f'<path d="M240 4V{height}" stroke="var(--line)"/>' + "".join(rows))


def _short(row: Mapping[str, Any]) -> str:
    metric = str(row["name"]).split(" ")[0].replace("_at_", "@")
    return f"{metric}, {'served' if row['against'] == 'candidate' else _LABELS[row['against']]}"


def _reliability(title: str, bins: Sequence[Sequence[float]]) -> str:
    """Draw hit rates over predicted chances. Points of a calibrated model are on the diagonal."""
    dots = "".join(
        f'<circle cx="{34 + 135 * min(said, 1.0):.1f}" cy="{150 - 135 * came:.1f}" r="4" fill="var(--main)">'
        f"<title>said {said:.2f}, came true {came:.2f}, n {int(n)}</title></circle>"
        for said, came, n in bins
    )
    axis = (
        '<path d="M34 15V150H169" fill="none" stroke="var(--line)"/><path d="M34 150L169 15" stroke="var(--other)"/>'
        '<text class="dim" x="30" y="20" text-anchor="end">1</text><text class="dim" x="30" y="154" text-anchor="end">0</text>'
        '<text class="dim" x="169" y="165" text-anchor="middle">1</text><text x="180" y="84">across: said</text>'
        '<text x="180" y="100">upwards: hits</text>'
    )
    return _plot(title, 170, axis + dots)


def _plot(title: str, height: int, inside: str) -> str:
    return (
        f'<div class="plot"><h3>{title}</h3><svg viewBox="0 0 340 {height}" role="img">{inside}</svg></div>'
    )


def _tally(checks: Sequence[Mapping[str, Any]]) -> str:
    counts = {
        verdict: sum(row["verdict"] == verdict for row in checks)
        for verdict in ("passed", "failed", "skipped", "reported")
    }
    return f"{len(checks)} checks: " + ", ".join(f"{count} {verdict}" for verdict, count in counts.items())


def _models(models: Mapping[str, Mapping[str, Any]]) -> str:
    shown = (
        "hr_at_1",
        "hr_at_5",
        "hr_at_10",
        "hr_at_20",
        "mrr_at_20",
        "ndcg_at_20",
        "coverage",
        "gini",
        "popularity_ratio",
    )
    head = "".join(f'<th class="n">{name.replace("_at_", "@").replace("_", " ")}</th>' for name in shown)
    body = "".join(
        f"<tr><td>{_LABELS[name]}</td>"
        + "".join(f'<td class="n">{float(row[key]):.3f}</td>' for key in shown)
        + "</tr>"
        for name, row in models.items()
    )
    return f"<table><tr><th>model</th>{head}</tr>{body}</table>"


def _checks(checks: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for row in checks:
        interval = row["interval"]
        spread = f"{interval[0]:.4f} to {interval[1]:.4f}" if interval else ""
        bound = f"{row['comparator']} {row['bound']:.6g}" if row["comparator"] else ""
        rows.append(
            f'<tr><td class="{row["verdict"]}">{row["verdict"]}</td><td>{escape(row["name"])}</td>'
            f"<td>{escape(row['slice'])}</td><td>{escape(row['against'])}</td>"
            f'<td class="n">{row["n"]:,} of {row["minimum_n"]:,}</td><td class="n">{row["value"]:.6g}</td>'
            f'<td>{escape(bound)}</td><td class="n">{spread}</td><td class="dim">{escape(row["reason"])}</td></tr>'
        )
    head = (
        '<tr><th></th><th>check</th><th>slice</th><th>against</th><th class="n">n, least</th>'
        '<th class="n">value</th><th>bound</th>'
    )
    return f'<table>{head}<th class="n">interval</th><th>reason</th></tr>{"".join(rows)}</table>'
