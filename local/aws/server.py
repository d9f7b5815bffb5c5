"""The AWS process: moto's server with all patches, the gateway, and a clean shutdown."""

from __future__ import annotations

import functools
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

from werkzeug.serving import make_server

from local import processes
from local.aws import memory
from local.aws.settings import ACCOUNT_ID, HOST, REGION, Settings

log = logging.getLogger(__name__)

HEALTH_PATH = "/_local/health"


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT."""
    memory.return_freed_memory()
    _prepare_environment(settings)
    stop_all, buffers = _install(settings)
    from moto.moto_server.werkzeug_app import (
        DomainDispatcherApplication,
        MotoRequestHandler,
        create_backend_app,
    )

    class Handler(MotoRequestHandler):
        def log_request(self, *arguments: Any, **named: Any) -> None:
            """Log nothing: one line per request would hide the warnings."""

    from local.aws import firehose_front
    from local.aws.authorization import enforcement

    aws = DomainDispatcherApplication(create_backend_app)
    # moto 5.2.5 lists its own folder and matches up to 600 patterns, twice per request, to find the service of a host.
    aws.get_backend_for_host = functools.lru_cache(maxsize=256)(aws.get_backend_for_host)
    services = memory.collect_after_large_requests(firehose_front.in_front_of(aws, buffers))
    app = _with_health(enforcement.in_front_of(services))
    server = make_server(HOST, settings.port, app, threaded=True, request_handler=Handler)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
    log.info("AWS serves on %s, the API gateway on port %s", settings.url, settings.gateway_port)
    try:
        server.serve_forever()
    finally:
        stop_all()
        processes.sweep(settings.children)
        log.info("the AWS process ended")
        sys.stderr.flush()
        os._exit(0)  # non-daemon threads of moto must not block the exit


def _install(settings: Settings) -> tuple[Callable[[], None], Any]:
    """Apply the patches in the order of their dependencies.

    Returns:
        A function that stops all services, and the buffers of Firehose.
    """
    swept = processes.sweep(settings.children)
    if swept:
        log.info("ended %s processes that an earlier run left behind", swept)
    from local.aws import (
        apigateway,
        cloudformation,
        codebuild,
        ecr,
        events,
        firehose,
        gateway,
        iam,
        lambda_,
        lambda_code,
        s3,
        s3_notifications,
        sagemaker,
        sns,
        stepfunctions,
        xray,
    )
    from local.aws.authorization import enforcement as authorization
    from local.aws.cloudwatch import install as cloudwatch
    from local.aws.lambda_workers import Pool
    from local.aws.validation import requests

    authorization.install(settings)
    pool = Pool(settings)
    xray.install(settings)
    s3.install(settings)
    s3_notifications.install()
    buffers = firehose.install(settings)
    lambda_code.install(settings)
    lambda_.install(settings, pool)
    apigateway.install()
    cloudwatch.install()
    cloudformation.install()
    iam.install()
    sns.install(settings)
    registry = ecr.install(settings)
    codebuild.install(settings, registry)
    sagemaker.install(settings, registry)
    stepfunctions.install(settings)
    events.install()
    requests.install()
    front = gateway.serve(settings, pool)

    def stop_all() -> None:
        front.shutdown()
        sagemaker.stop_all()
        pool.close()

    return stop_all, buffers


def _prepare_environment(settings: Settings) -> None:
    """Set the environment variables that moto and the boto3 clients of this process read."""
    os.environ["MOTO_PORT"] = str(settings.port)
    os.environ["MOTO_ACCOUNT_ID"] = ACCOUNT_ID
    os.environ["AWS_DEFAULT_REGION"] = REGION
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL"):
        os.environ.pop(name, None)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr
    )
    logging.getLogger("botocore").setLevel(logging.WARNING)


def _with_health(app: Any) -> Any:
    def health_or_app(environ: dict[str, Any], start_response: Any) -> Any:
        if environ["PATH_INFO"] == HEALTH_PATH:
            start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
            return [b"ok"]
        return app(environ, start_response)

    return health_or_app
