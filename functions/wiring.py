"""Wire each step: read its settings, make its clients, call its entry point.

Steps are imported inside the functions, so that a cold start of the API loads only the step that the request needs.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from chalice.app import Request, Response

from functions.platform import settings
from functions.platform.clients import client, time_boxed_client
from functions.platform.http import read_request
from functions.platform.time_box import Deadline

if TYPE_CHECKING:
    from functions.platform.events.intake import Intake
    from functions.platform.warehouse import Credentials
    from functions.recommend.shops import Recommenders

# The state machine's input and output of a step: JSON objects, typed by the step.
Event = Any


# A client waits at most this long for a connection or for the next bytes.
FIREHOSE_TIMEOUT_MS = 2_000
S3_TIMEOUT_MS = 2_000
OPERATIONS_TIMEOUT_MS = 6_000


def collect_batch(request: Request | None) -> Response:
    """Answer POST /events."""
    from functions.collect.origin import origin_of
    from functions.collect.routes import answer_batch
    from functions.platform.secret_keys import secret_keys

    asked, origin = read_request(request), origin_of(request)
    authorization = request.headers.get("authorization") if request else None
    keys = secret_keys(settings.collect_settings().secret_keys_secret)
    return answer_batch(asked, origin, _intake_of(request), authorization, keys)


def collect_pixel(request: Request | None) -> Response:
    """Answer GET /pixel.gif."""
    from functions.collect.origin import origin_of
    from functions.collect.routes import answer_pixel

    return answer_pixel(read_request(request), origin_of(request), _intake_of(request))


def put_catalogue(request: Request | None) -> Response:
    """Answer PUT /catalogue."""
    from functions.catalogue.intake import Intake
    from functions.catalogue.routes import answer_catalogue
    from functions.platform.secret_keys import secret_keys

    asked, environment = read_request(request), settings.collect_settings()
    authorization, idempotency_key = (
        request.headers.get(name) if request else None for name in ("authorization", "idempotency-key")
    )
    intake = Intake(time_boxed_client("s3", S3_TIMEOUT_MS), environment.events_bucket)
    keys = secret_keys(environment.secret_keys_secret)
    return answer_catalogue(asked, authorization, idempotency_key, keys, environment, intake)


def recommend(request: Request | None) -> Response:
    """Answer GET and POST /recommend."""
    from functions.platform.receipt_keys import receipt_keys
    from functions.recommend.routes import answer_recommend

    keys = receipt_keys(settings.recommend_settings().receipts_secret)
    deadline = Deadline.of_lambda(_remaining_ms(request)())
    return answer_recommend(read_request(request), recommenders(), keys, deadline)


@lru_cache(maxsize=1)
def recommenders() -> "Recommenders":
    """Return the shops' recommenders of this execution environment, with what they remember between requests."""
    from functions.recommend.experiments import FOLDER, read_experiments
    from functions.recommend.fallback import stored_fallback
    from functions.recommend.recommend import Recommender
    from functions.recommend.served import served_release
    from functions.recommend.shops import Recommenders
    from functions.recommend.steering import PerShop, sources
    from functions.recommend.tables import stored_tables

    environment = settings.recommend_settings()
    endpoint = time_boxed_client("sagemaker-runtime", environment.endpoint_timeout_ms)
    s3 = time_boxed_client("s3", S3_TIMEOUT_MS)
    bucket, experiments = environment.models_bucket, read_experiments(FOLDER)
    stored = sources(s3, bucket)
    tables = PerShop(lambda shop_id: stored_tables(s3, bucket, shop_id))

    def of(shop_id: str) -> Recommender:
        served, fallback = served_release(s3, bucket, shop_id), stored_fallback(s3, bucket, shop_id)
        return Recommender(environment, shop_id, endpoint, served, fallback, experiments, stored, tables)

    return Recommenders(environment, of)


def script(request: Request | None) -> Response:
    """Answer GET /tugboat.js, GET /tugboat-carousel.js and GET /openapi.json."""
    from functions.scripts.scripts import serve

    if request is None:
        raise RuntimeError("script() was called outside a request")
    return serve(request.path.removeprefix("/"), request.headers.get("if-none-match"))


def lock(event: Event, _: Any) -> Event:
    """Run lock."""
    from functions.lock.lock import lock

    return lock(event, settings.lock_settings(), client("s3"), client("stepfunctions"))


def load(event: Event, _: Any) -> Event:
    """Run load."""
    from functions.load.load import load

    with _connection("load") as connection:
        return load(event, settings.warehouse_settings(), connection)


def transform(event: Event, _: Any) -> Event:
    """Run transform."""
    from functions.transform.transform import transform

    return transform(event, settings.warehouse_settings(), _credentials("transform"))


def validate(event: Event, _: Any) -> Event:
    """Run validate."""
    from functions.validate.validate import validate

    login = _credentials("validate")
    with _connection("validate") as connection:
        return validate(event, settings.warehouse_settings(), login, connection, client("s3"))


def export(event: Event, _: Any) -> Event:
    """Run export."""
    from functions.export.export import export

    with _connection("export") as connection:
        return export(event, settings.warehouse_settings(), connection, client("s3"))


def histories(event: Event, _: Any) -> Event:
    """Run histories, the first step of a batch, on the warehouse of export."""
    from functions.batch.histories import histories

    with _connection("export") as connection:
        return histories(event, settings.warehouse_settings(), connection, client("s3"))


def answers(event: Event, context: Any) -> Event:
    """Run answers of a batch, for as long as the Lambda's remaining time allows."""
    from functions.recommend.batch import answers

    remaining_ms = context.get_remaining_time_in_millis
    return answers(event, settings.answers_settings(), client("s3"), remaining_ms)


def batch(event: Event, _: Any) -> Event:
    """Run batch, the last step of a batch, on the warehouse of export."""
    from functions.batch.batch import batch

    with _connection("export") as connection:
        return batch(event, settings.warehouse_settings(), connection, client("s3"))


def publish(event: Event, _: Any) -> Event:
    """Run publish."""
    from functions.publish.publish import publish

    autoscaling = client("application-autoscaling")
    return publish(event, settings.publish_settings(), client("sagemaker"), autoscaling, client("s3"))


def prove(event: Event, _: Any) -> Event:
    """Run prove."""
    from functions.prove.prove import prove

    endpoint, autoscaling = client("sagemaker-runtime"), client("application-autoscaling")
    return prove(event, settings.publish_settings(), client("sagemaker"), endpoint, autoscaling, client("s3"))


def canary(event: Event, _: Any) -> Event:
    """Run canary."""
    from functions.canary.canary import canary

    return canary(event, settings.canary_settings(), client("s3"), client("cloudwatch"))


def rollback(event: Event, context: Any) -> Event:
    """Run rollback, and wait for a busy endpoint as long as the Lambda's remaining time allows."""
    from functions.rollback.rollback import rollback

    environment, remaining_ms = settings.publish_settings(), context.get_remaining_time_in_millis
    sagemaker, autoscaling = client("sagemaker"), client("application-autoscaling")
    return rollback(
        event, environment, sagemaker, autoscaling, client("s3"), client("stepfunctions"), remaining_ms
    )


def replay(event: Event, context: Any) -> Event:
    """Run replay, for as long as the Lambda's remaining time allows."""
    from functions.replay.replay import replay

    remaining_ms = context.get_remaining_time_in_millis
    return replay(event, _intake(client("s3"), remaining_ms), remaining_ms)


def catalogue(event: Event, _: Any) -> Event:
    """Run catalogue."""
    from functions.catalogue.catalogue import catalogue

    return catalogue(event, settings.catalogue_settings(), client("s3"))


def compact(event: Event, context: Any) -> Event:
    """Run compact, for as long as the Lambda's remaining time allows."""
    from functions.compact.compact import compact

    return compact(event, settings.compact_settings(), client("s3"), context.get_remaining_time_in_millis)


def erase(event: Event, context: Any) -> Event:
    """Run the phases of an erasure in S3."""
    from functions.erase.erase import erase

    environment = settings.erase_settings()
    return erase(event, environment, client("s3"), _erasures_key(), context.get_remaining_time_in_millis)


def erase_rows(event: Event, _: Any) -> Event:
    """Run the phases of an erasure in the warehouse, under the role that may delete events."""
    from dataclasses import replace

    from functions.erase.rows import erase_rows
    from functions.platform import warehouse

    environment = settings.erase_settings()
    login = warehouse.read_credentials(client("secretsmanager"), environment.snowflake_secret)
    with warehouse.connect(replace(login, role=environment.eraser_role)) as connection:
        return erase_rows(event, environment, connection, client("s3"), _erasures_key())


def operations(_: Event, __: Any) -> Event:
    """Run operations, for a rule's schedule or for the end of a run."""
    from datetime import UTC, datetime

    from functions.operations.gather import Clients
    from functions.operations.operations import operations
    from functions.operations.reports import SIGNING

    services = ("stepfunctions", "cloudwatch", "sagemaker", "events", "s3")
    configs = {"s3": SIGNING}
    clients = Clients(
        *(time_boxed_client(service, OPERATIONS_TIMEOUT_MS, configs.get(service)) for service in services)
    )
    return operations(settings.operations_settings(), clients, datetime.now(UTC))


def _erasures_key() -> str:
    found = client("secretsmanager").get_secret_value(SecretId=settings.erase_settings().erasures_secret)
    return str(found["SecretString"])


def _intake_of(request: Request | None) -> "Intake":
    return _intake(time_boxed_client("s3", S3_TIMEOUT_MS), _remaining_ms(request))


def _intake(s3: Any, remaining_ms: Callable[[], int]) -> "Intake":
    from functions.platform.events.intake import Intake
    from functions.platform.receipt_keys import receipt_keys

    environment = settings.collect_settings()
    keys = receipt_keys(environment.receipts_secret)
    firehose = time_boxed_client("firehose", FIREHOSE_TIMEOUT_MS)
    return Intake(environment, firehose, s3, keys, remaining_ms)


def _remaining_ms(request: Request | None) -> Callable[[], int]:
    """Return the clock of the Lambda that answers the request."""
    if request is None:
        raise RuntimeError("a route was called outside a request")
    context: Any = request.lambda_context
    return context.get_remaining_time_in_millis  # type: ignore[no-any-return]


def _credentials(step: str) -> "Credentials":
    """Return the pipeline's login, with the step's own warehouse if it has one."""
    from functions.platform import warehouse

    environment = settings.warehouse_settings()
    login = warehouse.read_credentials(client("secretsmanager"), environment.snowflake_secret)
    if environment.has_own_warehouse(step):
        login = replace(login, warehouse=login.step_warehouse(step))
    return login


@contextmanager
def _connection(step: str) -> Iterator[Any]:
    from functions.platform import warehouse

    with warehouse.connect(_credentials(step)) as connection:
        yield connection
