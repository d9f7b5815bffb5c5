"""Tugboat's Lambdas: a table of contents. Each handler reads its settings and clients and calls one plain function."""

from typing import Any

from chalice import Chalice, CORSConfig, Response

from functions.clients import client, time_boxed_client
from functions.http import identify
from functions.log import bind
from functions.settings import collect_settings, publish_settings, recommend_settings, warehouse_settings

app = Chalice(app_name="tugboat")
# Every body is text, the pixel too: docs/decisions/0006-pixel-as-text.md.
app.api.binary_types = []
# A body says by itself what it is, and a GET has none: by default Chalice answers any other type than JSON with 415, a mail's
# pixel too, and what was sent would be lost. sendBeacon posts text/plain: another type would cost a preflight that a closing
# page has no time for.
ANY_TYPE: list[str] = []
cors = CORSConfig(
    allow_origin="*", allow_headers=["Content-Type"], expose_headers=["Retry-After"], max_age=86_400
)


@app.middleware("pure_lambda")
def log_with_ids(event: Any, get_response: Any) -> Any:
    """Every line of a step's log names the invocation, and the execution it is part of."""
    run_id = event.event.get("run_id") if isinstance(event.event, dict) else None
    bind(request_id=event.context.aws_request_id, **({"run_id": run_id} if run_id else {}))
    return get_response(event)


# What the state machine passes and gets: JSON objects, typed by the functions that read them.
Event = Any


@app.route("/pixel.gif", methods=["GET"], content_types=ANY_TYPE)
def pixel() -> Response:
    """One event in the query string, for mails and pages without scripts."""
    from functions.collect.handlers import take_pixel
    from functions.receipt_keys import receipt_keys

    settings = collect_settings()
    keys = receipt_keys(settings.receipts_secret)
    return take_pixel(identify(app.current_request), settings, client("firehose"), client("s3"), keys)


@app.route("/events", methods=["POST"], content_types=ANY_TYPE, cors=cors)
def events() -> Response:
    """A batch of 1 to 500 events."""
    from functions.collect.handlers import take_batch
    from functions.receipt_keys import receipt_keys

    settings = collect_settings()
    keys = receipt_keys(settings.receipts_secret)
    return take_batch(identify(app.current_request), settings, client("firehose"), client("s3"), keys)


@app.route("/tugboat.js", methods=["GET"], content_types=ANY_TYPE)
def sdk() -> Response:
    """The JavaScript SDK of a storefront."""
    from functions.storefront import serve_script

    return serve_script("tugboat.js", app.current_request.headers.get("if-none-match"))


@app.route("/tugboat-carousel.js", methods=["GET"], content_types=ANY_TYPE)
def carousel() -> Response:
    """The carousel of a storefront, for pages that show one."""
    from functions.storefront import serve_script

    return serve_script("tugboat-carousel.js", app.current_request.headers.get("if-none-match"))


@app.route("/recommend", methods=["GET"], content_types=ANY_TYPE, cors=cors)
def recommend() -> Response:
    """A carousel for a session's items."""
    from functions.receipt_keys import receipt_keys
    from functions.recommend.handlers import recommend_by_query

    settings = recommend_settings()
    endpoint = time_boxed_client("sagemaker-runtime", settings.endpoint_timeout_ms)
    keys = receipt_keys(settings.receipts_secret)
    return recommend_by_query(identify(app.current_request), settings, endpoint, client("s3"), keys)


@app.route("/recommend", methods=["POST"], content_types=ANY_TYPE, cors=cors)
def recommend_post() -> Response:
    """The same for long sessions and ids that hold a comma."""
    from functions.receipt_keys import receipt_keys
    from functions.recommend.handlers import recommend_by_body

    settings = recommend_settings()
    endpoint = time_boxed_client("sagemaker-runtime", settings.endpoint_timeout_ms)
    keys = receipt_keys(settings.receipts_secret)
    return recommend_by_body(identify(app.current_request), settings, endpoint, client("s3"), keys)


@app.lambda_function(name="load")
def load(event: Event, context: Any) -> Event:
    """New raw files into RAW.EVENTS."""
    from functions.load import run
    from functions.warehouse import connect, read_credentials

    settings = warehouse_settings()
    credentials = read_credentials(client("secretsmanager"), settings.snowflake_secret)
    with connect(credentials) as connection:
        return run(event, settings, connection)


@app.lambda_function(name="transform")
def transform(event: Event, context: Any) -> Event:
    """dbt: staging, sessions, marts, training tables."""
    from functions.transform import run
    from functions.warehouse import read_credentials

    settings = warehouse_settings()
    return run(event, settings, read_credentials(client("secretsmanager"), settings.snowflake_secret))


@app.lambda_function(name="validate")
def validate(event: Event, context: Any) -> Event:
    """The gate in front of training."""
    from functions.validate import run
    from functions.warehouse import connect, read_credentials

    settings = warehouse_settings()
    credentials = read_credentials(client("secretsmanager"), settings.snowflake_secret)
    with connect(credentials) as connection:
        return run(event, settings, credentials, connection, client("s3"))


@app.lambda_function(name="export")
def export(event: Event, context: Any) -> Event:
    """The training tables as parquet on S3."""
    from functions.export import run
    from functions.warehouse import connect, read_credentials

    settings = warehouse_settings()
    credentials = read_credentials(client("secretsmanager"), settings.snowflake_secret)
    with connect(credentials) as connection:
        return run(event, settings, connection, client("s3"))


@app.lambda_function(name="publish")
def publish(event: Event, context: Any) -> Event:
    """A model that passed its gate, behind the endpoint."""
    from functions.publish.publish import publish as start

    return start(event, publish_settings(), client("sagemaker"), client("s3"))._asdict()


@app.lambda_function(name="prove")
def prove(event: Event, context: Any) -> Event:
    """The endpoint against the archive's golden sessions, then the release on record."""
    from functions.publish.prove import prove as ask

    endpoint = client("sagemaker-runtime")
    return ask(event, publish_settings(), client("sagemaker"), endpoint, client("s3"))._asdict()


@app.lambda_function(name="rollback")
def rollback(event: Event, context: Any) -> Event:
    """The endpoint back onto a release that was proved."""
    from functions.publish.rollback import rollback as go_back

    return go_back(event, publish_settings(), client("sagemaker"), client("s3"))._asdict()


@app.lambda_function(name="replay")
def replay(event: Event, context: Any) -> Event:
    """A period of raw/ or rejected/ through today's contract."""
    from functions.receipt_keys import receipt_keys
    from functions.replay.replay import replay as send_again

    settings = collect_settings()
    keys = receipt_keys(settings.receipts_secret)
    remaining_ms = context.get_remaining_time_in_millis
    return send_again(event, settings, client("firehose"), client("s3"), keys, remaining_ms)._asdict()
