"""Erase one person: follow the stage's Lambdas until every place is clean, and write the certificate.

The command can be stopped at any moment. The same command continues where the Lambdas stopped.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from deploy.command import DeployError, Progress, Say, exit_status, stage_parser
from deploy.lambdas import named
from deploy.stages import Stage, account_of, read_stage

# boto3 would give up after a minute, and invoke the Lambda a second time while the first still runs.
PATIENT = Config(read_timeout=910, retries={"total_max_attempts": 1})
# Work of one call, so that progress is visible.
CALL_S = 60
# The lease of the lock outlasts one call. The next call renews it.
LEASE_S = 960
# Another call, of a command that was killed, can still be at work: then the same call fails for a while.
TRANSIENT = ("StorageUnavailable", "WarehouseUnavailable")
TRIES, PAUSE_S = 30, 5.0
WAREHOUSE_PHASES = ("find", "rows")
FOLDER = Path("build/erasures")


class EraseError(DeployError):
    """The erasure is not finished. The message ends with the next step."""


class Erasure:
    """The calls to the stage's Lambdas for one person."""

    def __init__(
        self, stage: Stage, person: dict[str, str], lambda_: Any, say: Say, pause_s: float = PAUSE_S
    ) -> None:
        self._stage, self._person, self._lambda, self._say = stage, person, lambda_, say
        self._pause_s = pause_s
        self._run_id = f"erase-{int(time.time())}"
        self._holder = ""

    def look(self) -> dict[str, Any]:
        """Return how far the erasure is, and change nothing."""
        return self._invoke("erase", {**self._person, "action": "look"})

    def begin(self) -> dict[str, Any]:
        """Lock the pipeline, and work until the person's clients are known.

        Raises:
            EraseError: the pipeline or another erasure runs.
        """
        result = self.look()
        self._holder = f"erasure-{result['person'][:16]}"
        return self._until(result, after=("begin", "find", "discover"))

    def finish(self, result: dict[str, Any]) -> dict[str, Any]:
        """Work until the certificate is written, and make the totals of what is left."""
        result = self._until(result, after=())
        self._lock()
        # Totals that contained the person are deleted. Without this call, the next run makes them.
        transformed = self._lambda_response("transform", {"run_id": self._run_id})
        if "errorType" in transformed:
            self._say(f"the totals are missing until the next run: {transformed['errorMessage']}")
        self._release()
        return result

    def abandon(self) -> None:
        """Forget an erasure that has changed nothing."""
        self._invoke("erase", {**self._person, "action": "abandon"})
        self._release()

    def _until(self, result: dict[str, Any], after: tuple[str, ...]) -> dict[str, Any]:
        """Call until the phase `done`, or until the first phase that is not in `after`."""
        while result["phase"] != "done" and (not after or result["phase"] in after):
            self._lock()
            name = "erase_rows" if result["phase"] in WAREHOUSE_PHASES else "erase"
            result = self._invoke(name, {**self._person, "seconds": CALL_S})
            self._say(f"{result['phase']} {result['after']}".rstrip() + _summary(result["counts"]))
        return result

    def _lock(self) -> None:
        held = self._lambda_response(
            "lock",
            {"run_id": self._run_id, "action": "acquire", "execution_arn": self._holder, "lease_s": LEASE_S},
        )
        if not held.get("acquired"):
            raise EraseError(
                f"{held.get('holder') or held.get('errorMessage')} holds the stage's lock: run the same command again "
                f"when it has ended (make status STAGE={self._stage.name})"
            )

    def _release(self) -> None:
        self._lambda_response(
            "lock", {"run_id": self._run_id, "action": "release", "execution_arn": self._holder}
        )

    def _invoke(self, name: str, event: dict[str, Any]) -> dict[str, Any]:
        for remaining in reversed(range(TRIES)):
            body = self._lambda_response(name, event)
            if "errorType" not in body:
                return body
            if body["errorType"] not in TRANSIENT or not remaining:
                break
            self._say(f"{body['errorType']}: {body['errorMessage']} Trying again.")
            time.sleep(self._pause_s)
        raise EraseError(
            f"{body['errorType']}: {body['errorMessage']}\nNothing is lost: correct the cause, then run the same command "
            f"again. The log is in the group /aws/lambda/{named(name).deployed_name(self._stage)}"
        )

    def _lambda_response(self, name: str, event: dict[str, Any]) -> dict[str, Any]:
        response = self._lambda.invoke(
            FunctionName=named(name).deployed_name(self._stage), Payload=json.dumps(event).encode()
        )
        body: dict[str, Any] = json.loads(response["Payload"].read())
        return body


def _summary(counts: dict[str, int]) -> str:
    lines = sum(count for place, count in counts.items() if place.endswith(("lines", "rows")))
    return f": {lines:,} lines and rows" if lines else ""


def confirmed(clients: list[list[str]], answer: Any) -> bool:
    """Return True if the caller agrees that every event of these clients is erased."""
    print(f"\nThis user id was seen on {len(clients)} clients. Every event of these clients is erased:")
    print("also events before sign-in, and events of other people who used the same browser.")
    for shop, client in clients:
        print(f"  shop {shop}: {client}")
    return str(answer("Erase them? [yes/no] ")).strip().lower() == "yes"


def save(result: dict[str, Any], text: str, folder: Path) -> Path:
    """Write the certificate as JSON and as text; return the path of the text."""
    name = result["certificate_uri"].rsplit("/", 1)[1].removesuffix(".json")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(result["certificate"], indent=2) + "\n")
    path = folder / f"{name}.txt"
    path.write_text(text)
    return path


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = stage_parser("deploy.erase", __doc__, "--stage dev --client 0b5e6f7a --shop demo")
    who = parser.add_mutually_exclusive_group(required=True)
    who.add_argument("--client", help="the client id, as events have it")
    who.add_argument("--user", help="the user id: every client that ever had it is erased")
    parser.add_argument("--shop", help="erase in this shop only (default: in every shop)")
    parser.add_argument(
        "--yes", action="store_true", help="do not ask before the clients of a user are erased"
    )
    args = parser.parse_args(arguments)
    if not (args.client or args.user):
        parser.error("the id is empty: name one by CLIENT=id or USER=id")

    def run() -> int:
        stage = read_stage(args.stage)
        # The certificate of a misspelt shop would say that nothing of the person is left.
        if args.shop is not None and args.shop not in stage.shops:
            raise EraseError(
                f"stage {stage.name} has no shop {args.shop!r}: use SHOP= one of {', '.join(stage.shops)}. Without SHOP, the "
                "person is erased in every shop that has events, also in a removed one"
            )
        session = boto3.Session(region_name=stage.region)
        account_of(stage, session.client("sts"))
        person = {
            name: value for name in ("client", "user", "shop") if (value := getattr(args, name)) is not None
        }
        erasure = Erasure(stage, person, session.client("lambda", config=PATIENT), Progress())
        result = erasure.begin()
        # Clients are known, and nothing is changed yet.
        if args.user and not args.yes and not result["counts"] and not confirmed(result["clients"], input):
            erasure.abandon()
            print("nothing was erased")
            return 1
        result = erasure.finish(result)
        bucket, _, key = result["certificate_uri"].removeprefix("s3://").partition("/")
        stored = session.client("s3").get_object(Bucket=bucket, Key=key.removesuffix(".json") + ".txt")
        text = stored["Body"].read().decode()
        path = save(result, text, FOLDER)
        print(f"\n{text}\nwrote {path} and the same as .json; both are also at {result['certificate_uri']}")
        return 0 if result["certificate"]["complete"] else 1

    return exit_status(run)


if __name__ == "__main__":
    sys.exit(main())
