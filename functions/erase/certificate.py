"""The certificate of an erasure: what was removed from where, what still exists elsewhere, and until when."""

from datetime import datetime, timedelta
from typing import Any

from functions.erase.journal import Journal
from functions.platform.settings import EraseSettings

# Snowflake's defaults: https://docs.snowflake.com/en/user-guide/data-time-travel and data-failsafe.
TIME_TRAVEL_DAYS = 1
FAIL_SAFE_DAYS = 7
DIGEST = (
    "HMAC-SHA256 of kind, id and shop, joined by the character 31, under the secret tugboat/<stage>/erasures. "
    "Whoever holds the secret and the id can verify the certificate. Nobody else can find the id by trying."
)


def certificate(
    journal: Journal, settings: EraseSettings, person: str, finished_at: datetime
) -> dict[str, Any]:
    """Return the certificate as JSON. It contains no id of the person."""
    counts = {name: count for name, count in sorted(journal.counts.items())}
    fail_safe = finished_at + timedelta(days=TIME_TRAVEL_DAYS + FAIL_SAFE_DAYS + 1)
    time_travel = finished_at + timedelta(days=TIME_TRAVEL_DAYS + 1)
    return {
        "certificate": 1,
        "stage": settings.stage,
        "person": person,
        "person_is": DIGEST,
        "kind": journal.kind,
        "in_one_shop": journal.shop is not None,
        "clients": len(journal.clients),
        "started_at": journal.started_at,
        "finished_at": finished_at.isoformat(timespec="seconds"),
        "complete": not journal.unreadable,
        "erased": counts,
        "not_examined": journal.unreadable,
        "snapshots_deleted": journal.snapshots,
        "models_that_saw_the_person": journal.models,
        "remains": [
            {
                "place": "Snowflake Time Travel of every table, at its default of 1 day",
                "gone_by": f"{time_travel:%Y-%m-%d}",
            },
            {
                "place": "Snowflake Fail-safe of RAW.EVENTS, which only Snowflake's support can read",
                "gone_by": f"{fail_safe:%Y-%m-%d}",
            },
        ],
    }


def page(certificate: dict[str, Any]) -> str:
    """Return the certificate as text for people."""
    lines = [
        f"Certificate of erasure, stage {certificate['stage']}",
        "",
        f"Person: {certificate['person']}",
        f"  {certificate['person_is']}",
        f"Asked for: one {certificate['kind']} id, {'in one shop' if certificate['in_one_shop'] else 'in every shop'}",
        f"Client ids that were erased: {certificate['clients']}",
        f"Started: {certificate['started_at']}",
        f"Finished: {certificate['finished_at']}",
        "",
        "Erased:",
        *(f"  {count:>10,}  {place}" for place, count in certificate["erased"].items()),
    ]
    if not certificate["complete"]:
        lines += [
            "",
            "INCOMPLETE. These files are broken gzip and could not be examined. Repair or delete them, and erase again:",
        ]
        lines += [f"  {key}" for key in certificate["not_examined"]]
    lines += ["", f"Snapshots deleted: {', '.join(certificate['snapshots_deleted']) or 'none'}"]
    lines += [
        "",
        "Models that may have learned from the person:"
        if certificate["models_that_saw_the_person"]
        else "No model saw the person.",
    ]
    for model in certificate["models_that_saw_the_person"]:
        lines.append(f"  {model['model']}: {model['place']}")
        lines.append(
            f"    gone {'by ' + model['gone_by'] if model['gone_by'] else 'when ' + model['gone_when']}"
        )
    lines += ["", "Copies that expire by themselves:"]
    lines += [f"  {one['place']}: gone by {one['gone_by']}" for one in certificate["remains"]]
    return "\n".join(lines) + "\n"
