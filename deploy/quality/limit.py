"""Show or change the limits of a shop's data checks. A change holds from the next run on, without a deployment.

A check's name stands for its limit, if it has one only: `freshness` for `freshness.largest_hours_since_load`.
The name of an expectation stands for its `mostly`, the least share of rows that must keep to it.
"""

import difflib
import sys
from pathlib import Path

import yaml

from deploy.command import exit_status, stage_parser, table
from deploy.quality.steward import QualityError, Steward, make_stage, required_reason, steward
from deploy.shop_option import add_shop, chosen_shop
from deploy.stages import Stage, read_stage
from functions.platform import warehouse
from functions.validate.data_checks import EXPECTATION
from functions.validate.limits import read_limits
from functions.validate.rules import RULES
from functions.validate.thresholds import LimitRefused, limit_names, unit, with_limits

MODELS = Path(__file__).resolve().parents[2] / "sql" / "models"
ADD = "insert into QA.LIMITS (SHOP_ID, LIMIT_NAME, VALUE, SET_BY, IDENTITY, REASON) values (%s, %s, %s, %s, %s, %s)"
HISTORY = """
    select SET_AT, LIMIT_NAME, VALUE, SET_BY, REASON from QA.LIMITS where SHOP_ID = %s order by SET_AT desc limit 20
"""


def expectations() -> dict[str, float]:
    """Return the names of the expectations of sql/models, with their default `mostly`."""
    found = {}
    for file in MODELS.rglob("*.yml"):
        for model in yaml.safe_load(file.read_text("utf-8")).get("models", ()):
            tests = [*model.get("data_tests", ())]
            tests += [test for column in model.get("columns", ()) for test in column.get("data_tests", ())]
            for test in tests:
                kind, settings = next(iter(test.items())) if isinstance(test, dict) else (test, {})
                if kind.startswith(EXPECTATION):
                    found[settings["name"]] = float(settings.get("arguments", {}).get("mostly", 1))
    return found


def limit_name(check: str) -> str:
    """Return the name of the limit that a person means.

    Raises:
        QualityError: no limit or check has this name, or the check has several limits.
    """
    known = [*limit_names(), *expectations()]
    if check in known:
        return check
    if rule := RULES.get(check):
        bounds = [name for name in (rule.bound, rule.upper_bound) if name]
        if len(bounds) == 1:
            return bounds[0]
        raise QualityError(
            f"the check {check} has several limits. Name one: "
            + " or ".join(f'CHECK="{name}"' for name in bounds)
        )
    near = difflib.get_close_matches(check, [*known, *RULES], n=3, cutoff=0.5)
    meant = f" Did you mean {' or '.join(near)}?" if near else ""
    raise QualityError(
        f"no check, limit or expectation is named {check!r}.{meant} docs/data_checks.md lists all of them"
    )


def limit_value(name: str, value: str, others: dict[str, float]) -> float:
    """Return the value of a limit as a number.

    Raises:
        QualityError: the value is no number, or outside the bounds of the limit.
    """
    number = limit_number(name, value)
    if name in limit_names():
        try:
            with_limits({key: one for key, one in others.items() if key in limit_names()} | {name: number})
        except LimitRefused as error:
            raise QualityError(str(error)) from error
    elif not 0 <= number <= 1:
        raise QualityError(f"{name} cannot be {value}: it is {_meaning(name)}")
    return number


def limit_number(name: str, value: str) -> float:
    """Read the number that a person gives for a limit.

    Raises:
        QualityError: it is none.
    """
    try:
        return float(value)
    except ValueError as error:
        raise QualityError(
            f"{name} cannot be {value!r}: it is {_meaning(name)}, such as VALUE=0.5"
        ) from error


def _meaning(name: str) -> str:
    return unit(name) if name in limit_names() else "a share of rows from 0 to 1"


def change(by: Steward, shop: str, check: str, value: str | None, reason: str | None) -> str:
    """Set a limit of a shop, or return it to its default if `value` is None; return the sentence that says so.

    Raises:
        QualityError: the shop, the name, the value or the reason is refused.
    """
    _require_shop(by.stage, shop)
    name = limit_name(check)
    own = {key: limit.value for key, limit in read_limits(by.connection, shop).items()}
    number = None if value is None else limit_value(name, value, own)
    why = required_reason(reason)
    if number is None and name not in own:
        raise QualityError(f"shop {shop} has no limit {name} of its own: the default holds")
    warehouse.rows(by.connection, ADD, (shop, name, number, by.name, by.identity, why))
    checks = [check for check, rule in RULES.items() if name in rule.limit_names()] or [name]
    before, now = _shown(own.get(name, _default(name))), _shown(_default(name) if number is None else number)
    return (
        f"shop {shop}: {name} is {now}, was {before}, from the next run on. It decides about {', '.join(checks)}. "
        f"Set by {by.name}"
    )


def listing(by: Steward, shop: str) -> str:
    """Return every limit of a shop as text, with its default, and the latest changes."""
    _require_shop(by.stage, shop)
    own = read_limits(by.connection, shop)
    rows = []
    for name, default in (limit_names() | expectations()).items():
        limit = own.get(name)
        words = f"{limit.set_by}, {limit.set_at:%Y-%m-%d}: {limit.reason}" if limit else ""
        rows.append([name, _shown(limit.value if limit else default), _shown(default), words])
    changes = [
        [f"{at:%Y-%m-%d %H:%M}", name, "default" if value is None else _shown(value), who, why]
        for at, name, value, who, why in warehouse.rows(by.connection, HISTORY, (shop,))
    ]
    text = table(["limit", "value", "default", "set by"], rows)
    if changes:
        text += "\n\nlatest changes\n" + table(["at, UTC", "limit", "value", "set by", "reason"], changes)
    return text


def _require_shop(stage: Stage, shop: str) -> None:
    if shop not in stage.shops:
        raise QualityError(
            f"stage {stage.name} has no shop {shop!r}: name one of {', '.join(stage.shops)} by SHOP=..."
        )


def _default(name: str) -> float | None:
    return limit_names()[name] if name in limit_names() else expectations()[name]


def _shown(value: float | None) -> str:
    return "none" if value is None else f"{value:.10g}"


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = stage_parser(
        "deploy.quality.limit",
        __doc__,
        '--stage dev --shop demo --check volume.lowest_ratio --value 0.4 --reason "closed on Sundays"',
    )
    add_shop(parser)
    parser.add_argument("--check", help="a check, a limit or an expectation; without it, list all limits")
    parser.add_argument("--value", help="the new limit")
    parser.add_argument("--default", action="store_true", help="return to the default")
    parser.add_argument("--reason", help="the reason, which is recorded")
    parser.add_argument("--by", help="your name; default: that of your login")
    args = parser.parse_args(arguments)

    def run() -> int:
        if args.check and bool(args.value) == args.default:
            raise QualityError(
                f"{args.check}: give VALUE=... for a new limit, or ARGS=--default to return to the default"
            )
        if not args.check and (args.value or args.default or args.reason):
            raise QualityError("name the check whose limit changes: CHECK=...")
        if args.check:
            # A person learns of a slip before Snowflake resumes a warehouse.
            name = limit_name(args.check)
            required_reason(args.reason)
            if args.value:
                limit_number(name, args.value)
        shop = chosen_shop(read_stage(args.stage), args.shop)
        with steward(args.stage, args.by) as by:
            if args.check:
                print(change(by, shop, args.check, args.value or None, args.reason))
            else:
                print(f"limits of shop {shop}\n{listing(by, shop)}")
                print(
                    f'\nchange one: make limit{make_stage(by.stage)} SHOP={shop} CHECK=... VALUE=... REASON="..."'
                )
        return 0

    return exit_status(run)


if __name__ == "__main__":
    sys.exit(main())
