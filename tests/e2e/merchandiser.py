"""A merchandiser's day: rules of the shop demo are changed with `make rules`, and products with PUT /catalogue."""

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from os import environ
from typing import Any

from functions.platform.catalogue_state import state_key, unpack
from local.testing import wait_for
from testing import deployment
from testing.stage import LOCAL, MODELS_BUCKET, Stage

FILE = "rules/demo.yaml"


@contextmanager
def at_work(stage: Stage) -> Iterator["Merchandiser"]:
    """Give the shop its own rules back at the end of the day."""
    file = stage.copy / FILE
    own = file.read_text()
    try:
        yield Merchandiser(stage)
    finally:
        file.write_text(own)
        deployment.run("deploy.rules", stage.copy, stage.environment, "--shop", "demo", "--no-replay")
        Merchandiser(stage).a_minute_later()


class Merchandiser:
    """Who changes rules and products."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    def sets(self, *rules: dict[str, Any]) -> str:
        """Write the file and run `make rules`; return what it prints."""
        (self.stage.copy / FILE).write_text(json.dumps({"rules": rules}))
        said = deployment.run(
            "deploy.rules", self.stage.copy, self.stage.environment, "--shop", "demo", "--sessions", "20"
        )
        self.a_minute_later()
        return said

    def is_refused(self, *rules: dict[str, Any]) -> str:
        """Write a file that `make rules` refuses; return the message."""
        (self.stage.copy / FILE).write_text(json.dumps({"rules": rules}))
        command = [
            sys.executable,
            "-m",
            "deploy.rules",
            "--stage",
            "local",
            "--shop",
            "demo",
            "--sessions",
            "20",
        ]
        done = subprocess.run(
            command,
            cwd=self.stage.copy,
            env={**environ, **self.stage.environment, "PYTHONPATH": str(self.stage.copy)},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 1, done.stdout + done.stderr
        return done.stderr

    def lists(self, *products: dict[str, Any]) -> None:
        """Send products to PUT /catalogue, and wait until the state has them."""
        request = urllib.request.Request(
            f"{self.stage.api_url}/catalogue",
            "\n".join(json.dumps(one) for one in products).encode(),
            {
                "Authorization": f"Bearer {self.stage.secret_key('demo')}",
                "Content-Type": "application/x-ndjson",
            },
            method="PUT",
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            answer = json.load(response)
        assert answer["accepted"] == len(products), answer
        s3 = self.stage.client("s3")

        def folded() -> bool:
            try:
                stored = s3.get_object(Bucket=MODELS_BUCKET, Key=state_key("demo"))["Body"].read()
            except s3.exceptions.NoSuchKey:
                return False
            return bool(unpack(stored).changed_at_ms >= answer["received_at_ms"])

        wait_for(folded, 30)
        self.a_minute_later()

    def a_minute_later(self) -> None:
        """Let /recommend read everything again: a changed configuration gives it a new execution environment."""
        lambda_ = self.stage.client("lambda")
        variables = lambda_.get_function_configuration(FunctionName=LOCAL.prefix)["Environment"]["Variables"]
        changed = {**variables, "TUGBOAT_MINUTE": str(time.time_ns())}
        lambda_.update_function_configuration(FunctionName=LOCAL.prefix, Environment={"Variables": changed})
        # A cold start on a busy machine takes longer than a carousel waits.
        self.stage.recommend(k=1, shop="demo")


def in_seconds(seconds: float) -> str:
    """Return a time as a rule has it."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%d %H:%M:%S Z")
