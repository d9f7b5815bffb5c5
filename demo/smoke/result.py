"""The results of the smoke test: one row per step."""

from dataclasses import dataclass, field
from typing import Literal

from deploy.bill.step_costs import Cost

Outcome = Literal["passed", "failed", "not reached"]
# The steps in the order of the journey. A failure leaves the rest "not reached".
STEPS = (
    "Send events",
    "Events in S3",
    "First run",
    "Recommend",
    "Click and buy",
    "Second run",
    "Attribution",
    "Roll back",
)


class StepFailed(Exception):
    """A step of the smoke test failed. The message says what was seen and what to do next."""


@dataclass
class Row:
    """One step, or one state of a run."""

    name: str
    outcome: Outcome
    seconds: float
    found: str
    cost: Cost | None = None
    inner: list["Row"] = field(default_factory=list)

    @property
    def usd(self) -> float:
        """Return the cost of the step and of everything in it, as far as prices are known."""
        own = self.cost.usd if self.cost and self.cost.usd is not None else 0.0
        return own + sum(row.usd for row in self.inner)


@dataclass
class SmokeResult:
    """All rows, and what the report says of the stage."""

    facts: dict[str, str]
    rows: list[Row] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Return True if every step passed."""
        return [row.name for row in self.rows if row.outcome == "passed"] == list(STEPS)

    def finish(self) -> None:
        """Add the steps that were not reached."""
        reached = {row.name for row in self.rows}
        self.rows += [Row(name, "not reached", 0.0, "") for name in STEPS if name not in reached]
