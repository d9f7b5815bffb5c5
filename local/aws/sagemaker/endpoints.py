"""Endpoints: create, update (the new server must be healthy before the old one stops), delete, restore.

moto 5.2.5 has no update_endpoint, and its endpoints are InService at once without a server. As with AWS's blue/green updates,
the old model continues to serve after a failed update: status InService, FailureReason set, the old EndpointConfigName.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

from moto.core.responses import ActionResult
from moto.core.utils import utcnow
from moto.sagemaker import models
from moto.sagemaker.exceptions import AWSValidationException
from moto.sagemaker.responses import SageMakerResponse

from local.aws import asynchronous
from local.aws.ecr import Registry
from local.aws.journal import Journal
from local.aws.sagemaker import names
from local.aws.sagemaker.files import MissingObject
from local.aws.sagemaker.resources import backend
from local.aws.sagemaker.servers import ModelServer, ModelSpec, ServerFailed
from local.aws.settings import Settings

log = logging.getLogger(__name__)

# The old server may still handle requests.
_DRAIN_S = 1.0
_RESTART_DELAY_S = 1.0


class Servers:
    """The model servers of all endpoints."""

    def __init__(self, settings: Settings, registry: Registry) -> None:
        self.settings = settings
        self.registry = registry
        self._serving: dict[str, ModelServer] = {}
        self._changed = threading.Condition()
        self._stopping = False

    def get(self, endpoint: str) -> ModelServer | None:
        """Return the server of an endpoint, or None."""
        with self._changed:
            return self._serving.get(endpoint)

    def start(self, spec: ModelSpec) -> ModelServer:
        """Start a server and wait until it is healthy.

        Raises:
            ServerFailed: it did not become healthy.
            MissingObject: the model archive is not in S3.
        """
        server = ModelServer(self.settings, self.registry, spec)
        try:
            server.wait_until_healthy()
        except ServerFailed:
            server.stop()
            raise
        return server

    def serve(self, server: ModelServer) -> None:
        """Route an endpoint to a healthy server; stop the old server after its current requests."""
        with self._changed:
            before = self._serving.get(server.spec.endpoint)
            self._serving[server.spec.endpoint] = server
            self._changed.notify_all()
        asynchronous.in_thread(self._restart_when_it_ends, server)
        if before is not None:
            asynchronous.in_thread(_drain_and_stop, before)

    def remove(self, endpoint: str) -> None:
        """Stop the server of an endpoint."""
        with self._changed:
            server = self._serving.pop(endpoint, None)
        if server is not None:
            server.stop()

    def stop_all(self) -> None:
        """Stop all servers."""
        with self._changed:
            self._stopping = True
            servers = list(self._serving.values())
            self._serving.clear()
        for server in servers:
            server.stop()

    def _restart_when_it_ends(self, server: ModelServer) -> None:
        """Restart a model server that ended, as SageMaker restarts a container."""
        server.process.wait()
        endpoint = server.spec.endpoint
        while not self._stopping and self.get(endpoint) is server:
            log.warning("the model server of %s ended and is started again", endpoint)
            try:
                replacement = self.start(server.spec)
            except (ServerFailed, MissingObject):
                time.sleep(_RESTART_DELAY_S)
                continue
            self.serve(replacement)


_servers: Servers | None = None


def stop_all() -> None:
    """Stop all model servers before the process exits."""
    if _servers is not None:
        _servers.stop_all()


def install(settings: Settings, registry: Registry, journal: Journal) -> Servers:
    """Patch moto's endpoints and start those of the last process."""
    global _servers
    servers = _servers = Servers(settings, registry)
    create = models.SageMakerModelBackend.create_endpoint
    delete = models.SageMakerModelBackend.delete_endpoint

    def create_endpoint(
        self: models.SageMakerModelBackend,
        endpoint_name: str,
        endpoint_config_name: str,
        tags: list[dict[str, str]] | None,
    ) -> models.FakeEndpoint:
        names.check("endpointName", endpoint_name)
        if endpoint_name in self.endpoints:
            raise AWSValidationException(
                f'Cannot create already existing endpoint "{self.endpoints[endpoint_name].arn}".'
            )
        endpoint = create(self, endpoint_name, endpoint_config_name, tags)
        spec = _spec(endpoint_name, endpoint_config_name)
        endpoint.endpoint_status = "Creating"
        asynchronous.in_thread(_create, servers, journal, endpoint, spec)
        return endpoint

    def delete_endpoint(self: models.SageMakerModelBackend, endpoint_name: str) -> None:
        self.describe_endpoint(endpoint_name)  # raises an error if it does not exist
        status = self.endpoints[endpoint_name].endpoint_status
        if status in ("Creating", "Updating"):
            raise AWSValidationException(f'Cannot delete endpoint in status "{status}".')
        delete(self, endpoint_name)
        journal.remove("endpoints", endpoint_name)
        servers.remove(endpoint_name)

    def update_endpoint(self: SageMakerResponse) -> ActionResult:
        return ActionResult({"EndpointArn": _update(self, servers, journal)})

    models.SageMakerModelBackend.create_endpoint = create_endpoint
    models.SageMakerModelBackend.delete_endpoint = delete_endpoint
    SageMakerResponse.update_endpoint = update_endpoint
    for name, record in journal.all("endpoints").items():
        _restore(create, servers, name, record)
    return servers


def _update(request: SageMakerResponse, servers: Servers, journal: Journal) -> str:
    name, config = request._get_param("EndpointName"), request._get_param("EndpointConfigName")
    request.sagemaker_backend.describe_endpoint(name)
    request.sagemaker_backend.describe_endpoint_config(config)
    endpoint = request.sagemaker_backend.endpoints[name]
    if endpoint.endpoint_status in ("Creating", "Updating"):
        raise AWSValidationException(f'Cannot update in-progress endpoint "{endpoint.arn}".')
    if endpoint.endpoint_status == "Failed":
        raise AWSValidationException(f'Cannot update failed endpoint "{endpoint.arn}"; delete it instead.')
    if endpoint.endpoint_config_name == config:
        raise AWSValidationException("Cannot update endpoint with its current endpoint configuration.")
    spec = _spec(name, config)
    endpoint.endpoint_status = "Updating"
    endpoint.last_modified_time = utcnow()
    asynchronous.in_thread(_replace, servers, journal, endpoint, spec, config)
    arn: str = endpoint.arn
    return arn


def _create(servers: Servers, journal: Journal, endpoint: models.FakeEndpoint, spec: ModelSpec) -> None:
    try:
        servers.serve(servers.start(spec))
    except (ServerFailed, MissingObject) as error:
        _set_status(endpoint, "Failed", str(error))
    else:
        _save(journal, endpoint)
        _set_status(endpoint, "InService")


def _replace(
    servers: Servers, journal: Journal, endpoint: models.FakeEndpoint, spec: ModelSpec, config: str
) -> None:
    try:
        server = servers.start(spec)
    except (ServerFailed, MissingObject) as error:
        still_serving = servers.get(endpoint.endpoint_name) is not None
        _set_status(endpoint, "InService" if still_serving else "Failed", str(error))
        return
    variants = backend().endpoint_configs[config].production_variants
    endpoint.production_variants = endpoint._process_production_variants(variants)
    endpoint.endpoint_config_name = config
    servers.serve(server)
    _save(journal, endpoint)
    _set_status(endpoint, "InService")


def _restore(create: Any, servers: Servers, name: str, record: dict[str, Any]) -> None:
    config = record["endpoint_config_name"]
    if config not in backend().endpoint_configs:
        log.error("endpoint %s is lost: its configuration %s does not exist. Publish it again.", name, config)
        return
    endpoint = create(backend(), name, config, record["tags"])
    endpoint.endpoint_status = "Updating"

    def start() -> None:
        try:
            servers.serve(servers.start(_spec(name, config)))
        except (ServerFailed, MissingObject) as error:
            _set_status(endpoint, "Failed", str(error))
        else:
            _set_status(endpoint, "InService")

    asynchronous.in_thread(start)


def _spec(endpoint: str, config_name: str) -> ModelSpec:
    """Return the model of the first variant of a configuration. Traffic is not split here."""
    sagemaker = backend()
    variant = sagemaker.endpoint_configs[config_name].production_variants[0]
    model = sagemaker.describe_model(variant["ModelName"])
    container = model.primary_container or model.containers[0]
    source = (container.get("ModelDataSource") or {}).get("S3DataSource", {})
    return ModelSpec(
        endpoint=endpoint,
        variant=variant["VariantName"],
        image=container["Image"],
        model_data_url=container.get("ModelDataUrl") or source["S3Uri"],
        environment=container.get("Environment") or {},
        memory_mb=(variant.get("ServerlessConfig") or {}).get("MemorySizeInMB"),
    )


def _save(journal: Journal, endpoint: models.FakeEndpoint) -> None:
    record = {"endpoint_config_name": endpoint.endpoint_config_name, "tags": endpoint.tags}
    journal.put("endpoints", endpoint.endpoint_name, record)


def _set_status(endpoint: models.FakeEndpoint, status: str, reason: str | None = None) -> None:
    endpoint.failure_reason = reason
    endpoint.last_modified_time = utcnow()
    endpoint.endpoint_status = status


def _drain_and_stop(server: ModelServer) -> None:
    time.sleep(_DRAIN_S)
    server.stop()
