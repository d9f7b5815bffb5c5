"""Run a step as a job: the Lambda's function, with the event from the environment and the outcome written to S3.

python -m functions.job transform

deploy/step_jobs.py starts it, with TUGBOAT_EVENT (JSON) and TUGBOAT_OUTCOME (the address of the outcome).
"""

import argparse
import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from functions import wiring
from functions.platform.clients import client
from functions.platform.log import bind, get_logger
from functions.platform.s3_keys import split_s3_uri

# As a program, this module is called __main__.
log = get_logger("functions.job")

Step = Callable[[Any, Any], Any]
STEPS: dict[str, Step] = {
    "transform": wiring.transform,
    "validate": wiring.validate,
    "export": wiring.export,
}


def run(step: Step, environment: Mapping[str, str], s3: Any) -> int:
    """Run a step, store its result or its error in the form of Lambda, and return the exit status of the job."""
    event = json.loads(environment["TUGBOAT_EVENT"])
    bucket, key = split_s3_uri(environment["TUGBOAT_OUTCOME"])
    bind(run_id=event["run_id"])
    status = 0
    try:
        outcome = step(event, None)
    except Exception as error:  # as Lambda's runtime does, report every exception
        log.exception("step failed")
        status = 1
        outcome = {
            "errorType": type(error).__name__,
            "errorMessage": str(error),
            "stackTrace": traceback.format_tb(error.__traceback__),
        }
    s3.put_object(Bucket=bucket, Key=key, Body=json.dumps(outcome).encode(), ContentType="application/json")
    return status


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m functions.job",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog='example: TUGBOAT_EVENT=\'{"run_id": "r1"}\' TUGBOAT_OUTCOME=s3://bucket/key python -m functions.job export',
    )
    parser.add_argument("step", choices=STEPS)
    args = parser.parse_args(arguments)
    return run(STEPS[args.step], os.environ, client("s3"))


if __name__ == "__main__":
    sys.exit(main())
