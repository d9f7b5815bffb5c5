"""The answer to "Is the shop well?": the reasons to look, the heaviest first, each with what to do."""

from collections.abc import Iterator
from datetime import timedelta
from statistics import median

from functions.operations.alarms import FIRING
from functions.operations.model import Metrics, Operations, Reason, Run, Runs, Serving, Verdict

# A share of fallbacks above this is worth a look before the alarm fires.
FALLBACK_SHARE = 0.05
FALLBACK_MIN = 20
USUAL_RUNS = 10
SLOW_FACTOR = 2.0
# A nightly run that fails once leaves the data a day older. Then it is late.
LATE = timedelta(hours=30)
MONEY_FACTOR = 1.25
SECTIONS = {
    "runs": "Runs",
    "schedule": "Schedule",
    "serving": "Releases",
    "metrics": "Endpoint and API",
    "data": "Data",
    "batches": "Lists for mail",
    "alarms": "Alarms",
    "money": "Money",
}


def usual_seconds(runs: Runs, of: Run) -> float | None:
    """Return the median duration of the successful runs of this kind before this one, or None without any.

    A run that trains takes longer than one that does not, so each is compared with its own kind.
    """
    earlier = [
        run.seconds(run.ended_at)
        for run in runs.newest
        if run.status == "SUCCEEDED"
        and run.ended_at
        and run.started_at < of.started_at
        and run.trains == of.trains
        and run.shop_id == of.shop_id
    ]
    return median(earlier[:USUAL_RUNS]) if earlier else None


def judge(page: Operations) -> Verdict:
    """Return the verdict on everything that could be read."""
    reasons = sorted(
        [
            *_alarms(page),
            *_serving(page),
            *_runs(page),
            *_models(page),
            *_traffic(page),
            *_data(page),
            *_money(page),
            *_unread(page),
        ],
        key=lambda reason: reason.weight,
    )
    if reasons:
        number = len(reasons)
        return Verdict(
            "look",
            f"Look here: {reasons[0].text}" if number == 1 else f"Look here: {number} things.",
            reasons,
        )
    if page.runs.value is None or page.runs.value.latest_success is None:
        command = f"make run{_stage(page)}"
        return Verdict("unknown", f"Not known yet: no run has succeeded. {command} starts one.", [])
    return Verdict("yes", "Yes: the last run succeeded, its model answers, and no alarm fires.", [])


def _stage(page: Operations) -> str:
    return f" STAGE={page.stage}"


def _alarms(page: Operations) -> Iterator[Reason]:
    for alarm in page.alarms.value.alarms if page.alarms.value else ():
        if alarm.state == FIRING:
            yield Reason(1, f"The alarm {alarm.name} fires.", alarm.description, "#alarms")


def _serving(page: Operations) -> Iterator[Reason]:
    for serving in page.serving.value or ():
        yield from _of_shop(page, serving)


def _of_shop(page: Operations, serving: Serving) -> Iterator[Reason]:
    several = len(page.serving.value or ()) > 1
    of_shop = f" of shop {serving.shop_id}" if several else ""
    argument = f" SHOP={serving.shop_id}" if several else ""
    if serving.current is None:
        runs = page.runs.value
        is_expected = runs and any(
            run.status == "SUCCEEDED" and run.shop_id in ("", serving.shop_id) for run in runs.newest
        )
        if is_expected:
            start = f"make run{_stage(page)}{argument} trains and publishes one."
            yield Reason(
                2,
                f"No model{of_shop} is published, so /recommend has nothing to answer with.",
                start,
                "#serving",
            )
        return
    again = f"make rollback{_stage(page)}{argument} returns to the previous release; docs/operations.md, Going back."
    if serving.endpoint_status in ("", "Failed", "OutOfService"):
        state = serving.endpoint_status or "missing"
        yield Reason(
            1, f"The endpoint {serving.endpoint} is {state}, so the fallback answers.", again, "#serving"
        )
    elif not serving.agrees and serving.endpoint_status == "InService":
        yield Reason(
            1,
            f"The endpoint{of_shop} serves {serving.served_config}, and the release on record is {serving.current.config}.",
            again,
            "#serving",
        )


def _runs(page: Operations) -> Iterator[Reason]:
    runs = page.runs.value
    if runs is None:
        return
    for ended in runs.latest_ended:
        if ended.status in ("SUCCEEDED", "RUNNING"):
            continue
        at = f" in {ended.failed_step}" if ended.failed_step else ""
        why = f" with {ended.error}" if ended.error else ""
        yield Reason(
            2,
            f"The last run{f' of shop {ended.shop_id}' if ended.shop_id else ''} ended as {ended.status}{at}{why}.",
            f"Correct the cause, then make rerun{_stage(page)} RUN={ended.run_id}.",
            f"#run-{ended.run_id}",
        )
    for run in runs.newest:
        usual = usual_seconds(runs, run)
        if run.status == "RUNNING" and usual and run.seconds(page.built_at) > SLOW_FACTOR * usual:
            yield Reason(
                2,
                f"Run {run.run_id} takes {run.seconds(page.built_at) / usual:.1f} times as long as usual.",
                f"make status{_stage(page)} shows where it stands.",
                f"#run-{run.run_id}",
            )
    schedule = page.schedule.value
    success = runs.latest_success
    if schedule and schedule.enabled and success and page.built_at - success.started_at > LATE:
        yield Reason(
            2,
            f"No run has succeeded since {success.started_at:%Y-%m-%d %H:%M} UTC, so the data is old.",
            f"make run{_stage(page)} starts one now.",
            "#runs",
        )


def _models(page: Operations) -> Iterator[Reason]:
    for run in page.runs.value.latest_judged if page.runs.value else ():
        for warning in run.evaluation.warnings if run.evaluation else ():
            yield Reason(
                3,
                f"The gate warns about the model{f' of shop {run.shop_id}' if run.shop_id else ''}: {warning}.",
                f"Open the evaluation of run {run.run_id}; docs/operations.md, When something fails.",
                "#gate",
            )


def _traffic(page: Operations) -> Iterator[Reason]:
    metrics = page.metrics.value
    if metrics is None:
        return
    for shop, figures in (metrics.shops or {"": metrics}).items():
        yield from _fallbacks(shop, figures, metrics)


def _fallbacks(shop: str, figures: Metrics, metrics: Metrics) -> Iterator[Reason]:
    share, fallbacks = figures.share("fallbacks", "recommendations"), figures.total("fallbacks")
    if share is not None and share > FALLBACK_SHARE and (fallbacks or 0) >= FALLBACK_MIN:
        most = next(iter(metrics.fallbacks), "unknown")
        yield Reason(
            2,
            f"The fallback answered {share:.0%} of the carousels{f' of shop {shop}' if shop else ''} of the last day, mostly "
            f"because of {most}.",
            "Read the endpoint's log group; docs/operations.md, When something fails.",
            "#serving",
        )


def _data(page: Operations) -> Iterator[Reason]:
    for shop in page.data.value.shops if page.data.value else ():
        failed = [check for check in shop.checks if check.verdict == "failed"]
        if failed:
            more = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
            yield Reason(
                2,
                f"Data checks of shop {shop.shop_id} failed: {failed[0].name}{more}.",
                f"Open the report of run {shop.run_id}; docs/operations.md, When something fails.",
                "#data",
            )


def _money(page: Operations) -> Iterator[Reason]:
    money = page.money.value
    if money and money.so_far > MONEY_FACTOR * money.predicted and money.so_far - money.predicted > 1:
        yield Reason(
            3,
            f"The month has cost about ${money.so_far:,.2f} so far, and ${money.predicted:,.2f} is predicted.",
            f"make bill{_stage(page)} ARGS='--measured latest' shows which line grew.",
            "#money",
        )


def _unread(page: Operations) -> Iterator[Reason]:
    for name, title in SECTIONS.items():
        section = getattr(page, name)
        if section.problem:
            yield Reason(
                3,
                f"{title} cannot be read: {section.problem}",
                "The next rebuild tries again.",
                f"#{anchor(name)}",
            )


def anchor(section: str) -> str:
    """Return the anchor of the part of the page that shows a section."""
    return {"schedule": "runs", "metrics": "serving", "batches": "data"}.get(section, section)
