"""Make the Markdown table of result files: ours beside the peers, with the ratios of their common run."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

_HEAD = """# Peers

Written by `python -m benchmarks.peers table`.
`benchmarks/peers/README.md` describes the columns and how the peers run.
A ratio is ours over that peer, from the same run on the same cores.
An epoch count with a `+` was cut by the budget before validation stopped improving.
The scores of such a row show how far the model got in that time, so the row has no ratio of accuracy.
Its time to the best epoch is a lower bound.
"""
_COLUMNS = (
    "model",
    "library",
    "P@20",
    "MRR@20",
    "MRR@20, 95 %",
    "epochs",
    "train s",
    "s/epoch",
    "CPU s to best",
    "events/s",
    "events/CPU s",
    "events/s ratio",
    "events/CPU s ratio",
    "CPU s to best ratio",
    "MRR@20 ratio",
)


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Make one section per data set, number of threads and day, because our code differs between days."""
    text = [_HEAD]
    sections = dict[tuple[Any, ...], list[dict[str, Any]]]()
    for row in rows:
        key = (row["data"], row["threads"], row["machine"]["cpu"], row["machine"]["cores"], row["at"][:10])
        sections.setdefault(key, []).append(row)
    for (data, threads, cpu, cores, day), inside in sections.items():
        loads = [row["machine"]["load_1_minute"] for row in inside]
        text.append(
            f"\n## {data}, {day}\n\n{inside[0]['cases']:,} test cases, {threads} thread(s) on {cores} core(s) of {cpu}, "
            f"{inside[0]['machine']['memory_gib']} GiB, load average at the start {min(loads)} to {max(loads)}.\n"
        )
        text.append("| " + " | ".join(_COLUMNS) + " |")
        text.append("|" + "---|" * len(_COLUMNS))
        runs = [row for row in inside if row["library"] == "tugboat"]
        ours = middle(runs) if runs else None
        if ours:
            text.append(_line(ours, None))
        best_s = cpu_s_to_best(ours) if ours else None
        text += [_line(row, best_s) for row in inside if row["library"] != "tugboat"]
        text.append("\nCommands:\n")
        text += [f"* `{command}`" for command in dict.fromkeys(row["command"] for row in inside)]
    return "\n".join(text) + "\n"


def middle(ours: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the first of our rows, with the median over all runs of the figures that depend on the machine's load."""
    moved = (
        *("train_seconds", "seconds_per_epoch", "cpu_seconds_per_epoch"),
        *("events_per_s", "events_per_cpu_s"),
    )
    figures = {name: [row[name] for row in ours if row[name]] for name in moved}
    return ours[0] | {name: median(values) if values else None for name, values in figures.items()}


def cpu_s_to_best(row: dict[str, Any]) -> float | None:
    """Return the processor time of training up to the best epoch on validation; for ours, of the whole schedule."""
    per_epoch = row.get("cpu_seconds_per_epoch")
    return per_epoch * (row.get("best_epoch") or row["epochs"]) if per_epoch else None


def _line(row: dict[str, Any], ours_best_s: float | None) -> str:
    best_s = cpu_s_to_best(row)
    ratio = row.get("ours_over_this", {})
    low, high = row["mrr_at_20_interval"]
    cells = [
        row["model"],
        f"{row['library']} {row['version']}",
        f"{row['hr_at_20']:.4f}",
        f"{row['mrr_at_20']:.4f}",
        f"{low:.4f} to {high:.4f}",
        f"{row['epochs']:.3g}" + ("" if row["converged"] else "+"),
        f"{row['train_seconds']:.0f}",
        f"{row['seconds_per_epoch']:.1f}",
        f"{best_s:,.0f}" if best_s else "",
        f"{row['events_per_s']:,.0f}",
        f"{row['events_per_cpu_s']:,.0f}" if row["events_per_cpu_s"] else "",
        _times(ratio.get("events_per_s")),
        _times(ratio.get("events_per_cpu_s")),
        _times(best_s / ours_best_s if best_s and ours_best_s else None, "" if row["converged"] else "+"),
        f"{ratio['mrr_at_20']:.2f}" if row["converged"] and ratio.get("mrr_at_20") else "",
    ]
    return "| " + " | ".join(cells) + " |"


def _times(ratio: float | None, more: str = "") -> str:
    return f"{ratio:.1f}x{more}" if ratio else ""
