"""Build the operations page and put it on S3: after each run, and every few minutes."""

from datetime import datetime
from typing import Any

from functions.operations.gather import Clients, gather
from functions.operations.page import render
from functions.operations.verdict import judge
from functions.platform.contract import OPERATIONS_PAGE_KEY
from functions.platform.log import get_logger
from functions.platform.settings import OperationsSettings

log = get_logger(__name__)


def operations(settings: OperationsSettings, clients: Clients, now: datetime) -> dict[str, Any]:
    """Write the page, and return its address and its answer."""
    page = gather(settings, clients, now)
    verdict = judge(page)
    clients.s3.put_object(
        Bucket=settings.models_bucket,
        Key=OPERATIONS_PAGE_KEY,
        Body=render(page, verdict).encode(),
        ContentType="text/html; charset=utf-8",
        CacheControl="no-cache",
    )
    uri = f"s3://{settings.models_bucket}/{OPERATIONS_PAGE_KEY}"
    log.info(
        "page written", page_uri=uri, answer=verdict.answer, reasons=[one.text for one in verdict.reasons]
    )
    return {"page_uri": uri, "answer": verdict.answer, "sentence": verdict.sentence}
