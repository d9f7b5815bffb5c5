"""Sign the addresses of the HTML reports of the runs, so that the links of the page open without a login."""

from datetime import datetime, timedelta
from typing import Any

from botocore.config import Config

from functions.operations.model import Reports, Run
from functions.platform.contract import EVALUATIONS_PREFIX

# The Lambda renews the addresses with each rebuild. Its own credentials can end earlier.
LINK_HOURS = 12

# By default boto3 signs an address by version 2, which newer regions refuse, and for a host of no region. From that host
# S3 redirects a request for a new bucket. The signature is not valid for the other host.
SIGNING = Config(signature_version="s3v4", s3={"addressing_style": "virtual"})


def sign_reports(s3: Any, bucket: str, runs: list[Run], now: datetime, hours: int) -> Reports:
    """Return a signed address for each report. Signing asks no service."""
    addresses = {}
    for run in runs:
        for uri in (data_checks_uri(run), evaluation_uri(run, bucket)):
            key = uri.removeprefix(f"s3://{bucket}/")
            if key and key != uri:
                addresses[uri] = s3.generate_presigned_url(
                    "get_object",
                    # SageMaker uploads the evaluation without a type, and a browser would save it instead of showing it.
                    Params={"Bucket": bucket, "Key": key, "ResponseContentType": "text/html; charset=utf-8"},
                    ExpiresIn=hours * 3600,
                )
    return Reports(addresses, now + timedelta(hours=hours))


def data_checks_uri(run: Run) -> str:
    """Return the address of the report of the data checks, or nothing if the run did not reach them."""
    return str((run.validation or {}).get("report_uri") or "")


def evaluation_uri(run: Run, bucket: str) -> str:
    """Return the address of the report of the gate, or nothing if the run did not reach it."""
    return f"s3://{bucket}/{EVALUATIONS_PREFIX}{run.run_id}/evaluation.html" if run.evaluation else ""
