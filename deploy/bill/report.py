"""The bill as text, as JSON and as a page: one column per workload, and the formula of each amount."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.bill.assumptions import Assumptions, sources
from deploy.bill.bill import Bill, warnings
from deploy.bill.changes import TOP, Saving, savings
from deploy.bill.coverage import FREE, FREE_TASKS, NOT_COUNTED
from deploy.bill.measured import Replacement
from deploy.bill.month import number
from deploy.bill.prices import PriceList
from deploy.bill.warehouses import pipeline_credits
from deploy.command import table
from deploy.pages import environment

WIDTH = 120


@dataclass(frozen=True)
class Report:
    """The bills of a stage. The first one is idle; the others are workloads."""

    bills: Sequence[Bill]
    replacements: Sequence[Replacement] = ()
    run_id: str = ""

    @property
    def idle(self) -> Bill:
        """The bill of the stage in which nothing happens."""
        return self.bills[0]

    @property
    def workloads(self) -> Sequence[Bill]:
        """The bills of the workloads."""
        return self.bills[1:]

    @property
    def stage_name(self) -> str:
        """The name of the stage."""
        return self.idle.month.stage.name

    @property
    def prices(self) -> PriceList:
        """The price lists of all bills."""
        return self.idle.month.prices

    @property
    def assumed(self) -> Assumptions:
        """The assumptions of all bills."""
        return self.idle.month.assumed

    @property
    def items(self) -> list[tuple[str, str]]:
        """The service and the item of every line of any bill, a service's lines together."""
        found = list(
            dict.fromkeys((one.service, one.item) for bill in self.bills[::-1] for one in bill.lines)
        )
        services = list(dict.fromkeys(service for service, _ in found))
        return sorted(found, key=lambda item: services.index(item[0]))

    @property
    def unknown_region(self) -> str:
        """The stage's region if the prices are those of another one, else an empty text."""
        region = self.idle.month.stage.region
        return "" if region == self.prices.region else region


def usd(amount: float) -> str:
    """Format an amount in dollars."""
    if amount == 0:
        return "-"
    return f"${amount:,.2f}" if amount >= 0.01 else "< $0.01"


def as_text(report: Report) -> str:
    """Return the bill for a terminal: formulas first, so that the table and the advice are at the end."""
    return "\n".join(
        [
            *_formulas(report),
            *_measured(report),
            *_table(report),
            *_advice(report),
            *_notes(report),
        ]
    )


def _formulas(report: Report) -> list[str]:
    lines: list[str] = []
    for bill in report.workloads:
        lines.append(f"Formulas, {bill.month.workload.name}:")
        for one in bill.lines:
            head = f"  {one.service}, {one.item}: {usd(one.usd)} = "
            lines += _wrapped(head + one.formula, " " * 6)
        lines.append("")
    return lines


def _measured(report: Report) -> list[str]:
    if not report.replacements:
        return []
    rows = [
        [one.name, number(one.assumed), number(one.measured), f"x {number(one.factor)}", one.unit]
        for one in report.replacements
    ]
    return [
        f"Measured in run {report.run_id}, in the place of what is assumed:",
        table(["assumption", "assumed", "measured", "factor", "unit"], rows),
        "",
    ]


def _table(report: Report) -> list[str]:
    rows = [
        [f"{service}, {item}", *(usd(bill.amount(service, item)) for bill in report.bills)]
        for service, item in report.items
    ]
    rows.append(["All", *(usd(bill.usd) for bill in report.bills)])
    head = ["per month", *(bill.month.workload.name for bill in report.bills)]
    return [f"The bill of stage {report.stage_name}, {_basis(report)}:", table(head, rows), ""]


def _basis(report: Report) -> str:
    return f"list prices of {report.prices.region} as of {report.prices.as_of}, Snowflake {report.prices.edition}"


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def cheapest(bill: Bill) -> list[Saving]:
    """Return the changes that save most."""
    return savings(bill)[:TOP]


def _advice(report: Report) -> list[str]:
    lines: list[str] = []
    for bill in report.workloads:
        lines.append(f"{bill.month.workload.name}: the three changes that save most, each by itself")
        for one in cheapest(bill):
            lines += _wrapped(f"  {usd(one.usd):>9}  {one.setting}: {one.price}", " " * 13)
        if not cheapest(bill):
            lines.append("  no change saves a cent")
        for sentence in warnings(bill):
            lines += _wrapped(f"  note: {sentence}", " " * 8)
        lines.append("")
    return lines


def _notes(report: Report) -> list[str]:
    lines = [f"Not counted: {'; '.join(NOT_COUNTED)}."]
    if report.unknown_region:
        lines.append(
            f"The stage is in {report.unknown_region}; the prices are those of {report.prices.region}."
        )
    missing = report.prices.unconfirmed
    lines.append(
        f"{len(missing)} of {len(report.prices.prices)} prices are not confirmed by a page of their date "
        f"(confirmed_by in deploy/bill/prices/)."
    )
    guessed = [name for name, source in sources().items() if source.text.startswith("not measured")]
    replaced = {one.name for one in report.replacements}
    guessed = [name for name in guessed if name not in replaced]
    lines.append(
        f"{len(guessed)} of {len(sources())} assumptions are not measured (deploy/bill/assumptions.json). After a run: "
        f"make bill STAGE={report.stage_name} ARGS='--measured latest'"
    )
    return [part for line in lines for part in textwrap.wrap(line, WIDTH, break_on_hyphens=False)]


def as_json(report: Report) -> dict[str, Any]:
    """Return the bill as values for JSON."""
    return {
        "stage": report.stage_name,
        "region": report.prices.region,
        "prices": {"as_of": report.prices.as_of, "files": list(report.prices.files)},
        "free_tiers_counted": False,
        "measured_run": report.run_id or None,
        "replaced": [one._asdict() for one in report.replacements],
        "months": [
            {
                "workload": vars(bill.month.workload),
                "usd": round(bill.usd, 4),
                "credits": round(pipeline_credits(bill.month), 4),
                "lines": [{**one._asdict(), "usd": round(one.usd, 6)} for one in bill.lines],
                "changes": [one._asdict() for one in savings(bill)],
                "warnings": warnings(bill),
            }
            for bill in report.bills
        ],
    }


def as_page(report: Report) -> str:
    """Return the bill as one self-contained HTML file."""
    templates = environment(Path(__file__).parent)
    templates.filters["usd"] = usd
    templates.filters["number"] = number
    return templates.get_template("page.html.jinja").render(
        report=report,
        basis=_basis(report),
        cheapest=cheapest,
        warnings=warnings,
        sources=sources(),
        not_counted=NOT_COUNTED,
        free={**FREE, **FREE_TASKS},
    )
