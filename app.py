"""Tugboat's Lambdas, as a table of contents: functions/wiring.py gives each handler its settings and clients."""

from typing import Any

from chalice.app import Chalice, CORSConfig, Response

from functions import wiring
from functions.platform.log import bind_ids

app = Chalice(app_name="tugboat")
app.api.binary_types = []  # every body is text, the pixel too: docs/decisions/0006-pixel-as-text.md
app.middleware("pure_lambda")(bind_ids)
cors = CORSConfig("*", allow_headers=["Content-Type"], expose_headers=["Retry-After"], max_age=86_400)
ANY_TYPE: list[str] = []  # else Chalice answers with 415: sendBeacon posts text/plain, to avoid a preflight


@app.route("/pixel.gif", methods=["GET"], content_types=ANY_TYPE)  # one event, for pages without scripts
def pixel() -> Response:
    return wiring.collect_pixel(app.current_request)


@app.route("/events", methods=["POST"], content_types=ANY_TYPE, cors=cors)  # a batch of 1 to 500 events
def events() -> Response:
    return wiring.collect_batch(app.current_request)


@app.route(
    "/catalogue", methods=["PUT"], content_types=ANY_TYPE
)  # changes of products, by the shop's back end
def put_catalogue() -> Response:
    return wiring.put_catalogue(app.current_request)


@app.route("/tugboat.js", methods=["GET"], content_types=ANY_TYPE)  # the storefront's SDK
@app.route("/tugboat-carousel.js", methods=["GET"], content_types=ANY_TYPE)  # and its carousel
@app.route("/openapi.json", methods=["GET"], content_types=ANY_TYPE)  # the description of this API
def script() -> Response:
    return wiring.script(app.current_request)


@app.route("/recommend", methods=["GET", "POST"], content_types=ANY_TYPE, cors=cors)  # items for a session
def recommend() -> Response:
    return wiring.recommend(app.current_request)


@app.lambda_function(name="collect")  # what shops send, in a Lambda of its own: deploy/api_routes.py
def collect(event: Any, context: Any) -> Any:
    return app(event, context)


# The steps, one Lambda each.
step = app.lambda_function
lock = step(name="lock")(wiring.lock)  # one run at a time
load = step(name="load")(wiring.load)  # new raw files into RAW.EVENTS
transform = step(name="transform")(wiring.transform)  # dbt: staging, sessions, marts, training tables
validate = step(name="validate")(wiring.validate)  # the gate in front of training
export = step(name="export")(wiring.export)  # the training tables as parquet on S3
publish = step(name="publish")(wiring.publish)  # an accepted model behind the endpoint
prove = step(name="prove")(wiring.prove)  # the golden sessions against an endpoint, then the record
canary = step(name="canary")(wiring.canary)  # a share of the shoppers for a new release, and its figures
rollback = step(name="rollback")(wiring.rollback)  # the endpoint back onto an earlier release
histories = step(name="histories")(wiring.histories)  # the recent items of each client, for a batch
answers = step(name="answers")(wiring.answers)  # the rules and the catalogue for the candidates of a batch
batch = step(name="batch")(wiring.batch)  # the lists of a batch into the warehouse
replay = step(name="replay")(wiring.replay)  # archived events once more through the current contract
catalogue = step(name="catalogue")(wiring.catalogue)  # new files of catalogue/ into the current state
compact = step(name="compact")(wiring.compact)  # a finished day's raw files as a few parquet files
erase = step(name="erase")(wiring.erase)  # one person's events and snapshots out of S3
erase_rows = step(name="erase_rows")(wiring.erase_rows)  # and their rows out of the warehouse
operations = step(name="operations")(wiring.operations)  # the operations page, from what the services say
