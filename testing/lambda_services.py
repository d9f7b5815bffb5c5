"""The four services of the edge Lambdas as servers on 127.0.0.1, each with a trouble of its own.

The clients are boto3's, as in a Lambda. The AWS SDK reads a service's address from AWS_ENDPOINT_URL_<SERVICE>:
https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html
"""

import base64
import gzip
import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

import botocore.session
from botocore.compat import unquote

from functions import wiring
from functions.platform import clients, receipt_keys, secret_keys, settings, time_box
from functions.platform.s3_keys import current_key, fallback_key
from testing.troubled_service import Answer, Received, Trouble, TroubledService, json_answer, troubled

SECRET_KEY = "tugboat-secret-of-demo"
# The release and the fallback that S3 answers with.
ENDPOINT = "tugboat-test"
FALLBACK = {
    "popular": [f"p{number}" for number in range(200)],
    "related": {"a": ["r1", "r2"], "i1": ["r1", "r2"]},
    "model_version": "m1",
}


def put_records(received: Received) -> Answer:
    """Answer as Firehose that took every record."""
    records = json.loads(received.body)["Records"]
    return json_answer({"FailedPutCount": 0, "RequestResponses": [{"RecordId": "r"} for _ in records]})


def object_of(received: Received) -> Answer:
    """Answer as S3 that takes every object, and that has a release and its fallback."""
    method, _, path = received.line.partition(" ")
    if method == "PUT":
        return Answer(200, b"", {"etag": '"e"'})
    stored = {
        current_key("demo"): {"release": {"endpoint": ENDPOINT, "shop_id": "demo"}},
        fallback_key("demo"): FALLBACK,
    }
    return json_answer(stored[unquote(path.partition("?")[0]).split("/", 2)[2]])


def recommended(received: Received) -> Answer:
    """Answer as an endpoint that has `k` items."""
    items = [{"item_id": f"m{number}", "score": 1.0} for number in range(json.loads(received.body)["k"])]
    return json_answer({"items": items, "reason": "as asked", "model_version": "m1"})


def secret(received: Received) -> Answer:
    """Answer as Secrets Manager that has every version of the receipt keys, and one secret key."""
    asked = json.loads(received.body)
    if asked["SecretId"].endswith("secret-keys"):
        return json_answer(
            {"SecretString": json.dumps({"demo": [{"sha256": secret_keys.digest(SECRET_KEY)}]})}
        )
    return json_answer({"SecretString": asked["VersionStage"]})


GOOD = {
    "firehose": put_records,
    "s3": object_of,
    "sagemaker-runtime": recommended,
    "secretsmanager": secret,
}
SERVICES = tuple(GOOD)
TROUBLES = tuple(trouble for trouble in Trouble if trouble is not Trouble.NONE)


def address_variable(service: str) -> str:
    """Return the environment variable that the SDK reads the address of a service from."""
    # "Secrets Manager" for `secretsmanager`: only botocore's model of the service has the space.
    service_id = botocore.session.get_session().get_service_model(service).service_id
    return f"AWS_ENDPOINT_URL_{service_id.upper().replace(' ', '_')}"


@contextmanager
def lambda_services() -> Iterator[dict[str, TroubledService]]:
    """Serve all services until the end of the block, without a trouble at first."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(troubled(answer)) for name, answer in GOOD.items()}


def client_variables(services: Mapping[str, TroubledService]) -> dict[str, str]:
    """Return the environment variables with which boto3 reaches the services."""
    return {
        **{address_variable(name): service.address for name, service in services.items()},
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_DEFAULT_REGION": "us-east-1",
    }


def start_cold() -> None:
    """Forget all that app.py remembers between requests, as in a new execution environment."""
    for cached in (
        *(settings.collect_settings, settings.recommend_settings),
        *(clients.time_boxed_client, receipt_keys.receipt_keys, secret_keys.secret_keys, wiring.recommenders),
        time_box.executor,
    ):
        cached.cache_clear()


def firehose_lines(service: TroubledService) -> dict[str, list[bytes]]:
    """Return the lines that Firehose took, by stream."""
    found: dict[str, list[bytes]] = {}
    for received in service.served:
        body = json.loads(received.body)
        lines = found.setdefault(body["DeliveryStreamName"], [])
        for record in body["Records"]:
            lines += base64.b64decode(record["Data"]).splitlines()
    return found


def parked_lines(service: TroubledService) -> dict[str, list[bytes]]:
    """Return the lines that S3 took, by the first folder of their key, such as `raw/`."""
    found: dict[str, list[bytes]] = {}
    for received in service.served:
        method, _, path = received.line.partition(" ")
        if method == "PUT":
            prefix = unquote(path).split("/")[2] + "/"
            found.setdefault(prefix, []).extend(gzip.decompress(_unframed(received)).splitlines())
    return found


def _unframed(received: Received) -> bytes:
    """Return an object's bytes without the frames of aws-chunked, in which the SDK sends its checksum."""
    if "aws-chunked" not in received.headers.get("content-encoding", ""):
        return received.body
    body, found = received.body, b""
    while size := int(body.split(b"\r\n", 1)[0].split(b";")[0], 16):
        start = body.index(b"\r\n") + 2
        found, body = found + body[start : start + size], body[start + size + 2 :]
    return found
