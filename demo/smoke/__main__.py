"""Walk the whole journey on a deployed stage, at small size, and write what each step took and cost.

Send, load, transform, validate, export, train, publish, prove, recommend, attribute, roll back.
The stage must serve no model of its own: use one for trials. Two runs take about half an hour on AWS.
"""

import argparse
import platform
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from demo import environment
from demo.environment import NotDeployed
from demo.follow import name_and_value
from demo.http import Http, RequestFailed
from demo.replay import ReplayFailed
from demo.smoke import page, steps
from demo.smoke.result import STEPS, Row, SmokeResult, StepFailed
from demo.smoke.steps import Smoke
from deploy.bill.prices import or_default
from deploy.command import DeployError, Progress
from deploy.destroy import destroy, require_unprotected
from deploy.stages import Stage, read_stage
from functions.platform.errors import StorageUnavailable, WarehouseUnavailable

REPORT = Path(".local/smoke")
SHOP = "smoke"


def walk(smoke: Smoke) -> Iterator[Row]:
    """Yield the row of each step, and stop after the first that fails."""
    walks: tuple[Callable[[], Row], ...] = (
        lambda: steps.send_events(smoke),
        lambda: steps.wait_for_landing(smoke),
        lambda: steps.run(smoke, "First run"),
        lambda: steps.recommend(smoke),
        lambda: steps.click_and_buy(smoke),
        lambda: steps.run(smoke, "Second run"),
        lambda: steps.attribute(smoke),
        lambda: steps.roll_back(smoke),
    )
    for name, step in zip(STEPS, walks, strict=True):
        began = time.monotonic()
        print(f"\n{name}", flush=True)
        try:
            row = step()
        except (
            StepFailed, RequestFailed, ReplayFailed, DeployError, WarehouseUnavailable, BotoCoreError, ClientError,
        ) as failed:  # fmt: skip
            yield Row(name, "failed", time.monotonic() - began, str(failed))
            return
        yield row


def main(arguments: list[str] | None = None) -> int:
    """Run the smoke test; return 0 only if every step passed."""
    parser = argparse.ArgumentParser(
        prog="python -m demo.smoke",
        description=__doc__,
        epilog="example: make smoke STAGE=trial",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--shop", default=SHOP, help="the shop of stages.toml to send as (default %(default)s)"
    )
    parser.add_argument(
        "--report",
        type=Path,
        default=REPORT,
        metavar="FOLDER",
        help="where the page goes (default %(default)s)",
    )
    parser.add_argument(
        "--clean",
        action="store_true",
        help="destroy the stage afterwards with all data; refused where there was data before",
    )
    parser.add_argument(
        "--hyperparameter", action="append", default=[], type=name_and_value, metavar="NAME=VALUE",
        help="a setting of the training jobs; repeat the flag for several",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    try:
        where = environment.from_variables()
        stage = read_stage(where.stage)
        if options.shop not in where.shop_keys:
            raise StepFailed(
                f'shop {options.shop!r} has no key: write {options.shop} = ["<8 characters or more>"] under '
                f"[{stage.name}.shops] in deploy/stages.toml, then make deploy STAGE={stage.name}"
            )
        hyperparameters = dict(pair.split("=", 1) for pair in options.hyperparameter)
        smoke = Smoke(
            where, stage, where.account(), options.shop, Http(2), hyperparameters, or_default(stage.region)
        )
        steps.require_replaceable(smoke)
        if options.clean:
            require_unprotected(stage)
            steps.require_empty(smoke)
    except (StepFailed, NotDeployed, DeployError) as failed:
        print(f"smoke: {failed}", file=sys.stderr)
        return 1
    except (StorageUnavailable, BotoCoreError, ClientError) as error:
        print(f"smoke: {environment.unanswered(error)}", file=sys.stderr)
        return 1
    result = SmokeResult(_facts(stage, options.shop))
    for row in walk(smoke):
        result.rows.append(row)
        print(
            f"{row.outcome}: {row.found}",
            file=sys.stderr if row.outcome == "failed" else sys.stdout,
            flush=True,
        )
    result.finish()
    path = options.report / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{stage.name}.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page.render(result, smoke.prices))
    usd = sum(row.usd for row in result.rows)
    print(
        f"\nstage {stage.name}: smoke test {'passed' if result.passed else 'failed'}, about ${usd:.2f}; the report: {path}"
    )
    left = _clean(stage) if options.clean else []
    return 0 if result.passed and not left else 1


def _clean(stage: Stage) -> list[str]:
    """Destroy the stage with its data; print and return what is still there."""
    session = boto3.Session(region_name=stage.region)
    left = destroy(stage, session, Progress(), delete_data=True)
    for item in left:
        print(f"still there: {item}", file=sys.stderr)
    return left


def _facts(stage: Stage, shop: str) -> dict[str, str]:
    """Return what a reader of the report needs to know of the stage. The account stays out of it."""
    return {
        "Stage": stage.name,
        "Region": stage.region,
        "Begun": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "Training": f"{stage.training_instance_type}{', spot' if stage.use_spot else ''}",
        "Endpoint": f"{stage.endpoint_kind}, {stage.endpoint_name(shop)}",
        "Laptop": f"Python {platform.python_version()} on {platform.system()}",
    }


if __name__ == "__main__":
    sys.exit(main())
