"""Accept a failed data check for one run, with your name and a reason; `make rerun` then continues the run at Validate.

The check fails again in the next run. To accept its value always, change the limit: `make limit`.
A test of the tables (the kind dbt) cannot be overridden.
"""

import sys

from deploy.command import exit_status, stage_parser
from deploy.quality.steward import QualityError, Steward, make_stage, required_reason, steward
from functions.platform import warehouse
from functions.validate.overrides import OVERRIDABLE

# The checks of the last try of a run that failed.
FAILED = """
    select SHOP_ID, CHECK_NAME, KIND, REASON, VERDICT
    from QA.CHECK_RESULTS
    where RUN_ID = %s
    qualify CHECKED_AT = max(CHECKED_AT) over ()
"""
ADD = """
    insert into QA.OVERRIDES (RUN_ID, SHOP_ID, CHECK_NAME, SET_BY, IDENTITY, REASON) values (%s, %s, %s, %s, %s, %s)
"""


def override(by: Steward, run_id: str, check: str, reason: str | None) -> str:
    """Record an override; return the sentence that says what happens next.

    Raises:
        QualityError: the run has no such failed check, nobody may override it, or there is no reason.
    """
    why = required_reason(reason)
    found = warehouse.rows(by.connection, FAILED, (run_id,))
    stage = make_stage(by.stage)
    if not found:
        raise QualityError(
            f"no run {run_id!r} has been validated in stage {by.stage.name}: the notification and "
            f"`make quality{stage}` name the run ids"
        )
    failed = {name: (shop, kind, text) for shop, name, kind, text, verdict in found if verdict == "failed"}
    if check not in failed:
        named = ", ".join(sorted(failed)) or "none"
        raise QualityError(f"the check {check!r} did not fail in run {run_id}. Failed: {named}")
    shop, kind, text = failed[check]
    if kind not in OVERRIDABLE:
        raise QualityError(
            f"{check} is an invariant of the tables, and nobody can override it: {text} Correct the tables or the models, "
            f"then `make rerun{stage} RUN={run_id}`, or rebuild them: make run{stage} ARGS=--full-refresh"
        )
    warehouse.rows(by.connection, ADD, (run_id, shop, check, by.name, by.identity, why))
    left = sorted(set(failed) - {check})
    more = f" These failed too: {', '.join(left)}." if left else ""
    return (
        f"run {run_id}, shop {shop}: {by.name} accepts {check} ({text}){more}\n"
        f"next: `make rerun{stage} RUN={run_id}` continues the run at Validate"
    )


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = stage_parser(
        "deploy.quality.override",
        __doc__,
        '--stage dev --run 20261129-1a2b3c4d5e6f --check volume --reason "Black Friday"',
    )
    parser.add_argument("--run", required=True, help="the run id, which the notification and the page name")
    parser.add_argument("--check", required=True, help="the name of the failed check")
    parser.add_argument(
        "--reason", required=True, help="the reason, which the page and the notification show"
    )
    parser.add_argument("--by", help="your name; default: that of your login")
    args = parser.parse_args(arguments)

    def run() -> int:
        if not (args.run and args.check):
            raise QualityError('name a run and a check: make override RUN=... CHECK="..." REASON="..."')
        required_reason(args.reason)
        with steward(args.stage, args.by) as by:
            print(override(by, args.run, args.check, args.reason))
        return 0

    return exit_status(run)


if __name__ == "__main__":
    sys.exit(main())
