"""Build the operations page and put it on S3: after each run, and every few minutes."""

from datetime import datetime
from typing import Any

from functions.operations.gather import Clients, gather
from functions.operations.model import Verdict
from functions.operations.page import render
from functions.operations.reports import LINK_HOURS
from functions.operations.verdict import judge
from functions.platform.contract import OPERATIONS_PAGE_KEY
from functions.platform.log import get_logger
from functions.platform.settings import OperationsSettings

log = get_logger(__name__)


def build(
    settings: OperationsSettings, clients: Clients, now: datetime, link_hours: int = LINK_HOURS
) -> tuple[bytes, Verdict]:
    """Return the page, and its answer. Its links to reports are valid for `link_hours`."""
    page = gather(settings, clients, now, link_hours)
    verdict = judge(page)
    return render(page, verdict).encode(), verdict


def publish(body: bytes, settings: OperationsSettings, s3: Any) -> None:
    """Put the page where everybody with a signed address reads it."""
    s3.put_object(
        Bucket=settings.models_bucket,
        Key=OPERATIONS_PAGE_KEY,
        Body=body,
        ContentType="text/html; charset=utf-8",
        CacheControl="no-cache",
    )


def operations(settings: OperationsSettings, clients: Clients, now: datetime) -> dict[str, Any]:
    """Build and publish the page, and return its address and its answer."""
    body, verdict = build(settings, clients, now)
    publish(body, settings, clients.s3)
    uri = f"s3://{settings.models_bucket}/{OPERATIONS_PAGE_KEY}"
    reasons = [reason.text for reason in verdict.reasons]
    log.info("page written", page_uri=uri, answer=verdict.answer, reasons=reasons)
    return {"page_uri": uri, "answer": verdict.answer, "sentence": verdict.sentence}
