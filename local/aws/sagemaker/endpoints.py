"""Endpoints: create, update (the new server must be healthy before the old one stops), delete, restore.

moto 5.2.5 has no update_endpoint, and its endpoints are InService at once without a server. As with AWS's blue/green updates,
the old model continues to serve after a failed update: status InService, FailureReason set, the old EndpointConfigName.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from typing import Any

from moto.core.responses import ActionResult
from moto.core.utils import utcnow
from moto.sagemaker import models
from moto.sagemaker.exceptions import AWSValidationException
from moto.sagemaker.responses import SageMakerResponse

from local.aws import asynchronous
from local.aws.ecr import Registry
from local.aws.journal import Journal
from local.aws.sagemaker import autoscaling
from local.aws.sagemaker.files import MissingObject
from local.aws.sagemaker.resources import backend
from local.aws.sagemaker.servers import ModelServer, ModelSpec, ServerFailed
from local.aws.settings import Settings

log = logging.getLogger(__name__)

# The old server may still handle requests.
_DRAIN_S = 1.0
_RESTART_DELAY_S = 1.0
# AWS takes a minute or two, in which the endpoint's name cannot be used.
_DELETE_S = 2.0


class Servers:
    """The model servers of all endpoints: one per instance."""

    def __init__(self, settings: Settings, registry: Registry) -> None:
        self.settings = settings
        self.registry = registry
        self._serving: dict[str, list[ModelServer]] = {}
        self._invocations: Counter[str] = Counter()
        self._lock = threading.Lock()
        self.stopping = threading.Event()

    def get(self, endpoint: str) -> ModelServer | None:
        """Return the server for the next request to an endpoint, each in turn, or None if the endpoint has none."""
        with self._lock:
            serving = self._serving.get(endpoint)
            if not serving:
                return None
            self._invocations[endpoint] += 1
            return serving[self._invocations[endpoint] % len(serving)]

    def count(self, endpoint: str) -> int:
        """Return the number of servers of an endpoint."""
        with self._lock:
            return len(self._serving.get(endpoint, []))

    def take_invocations(self, endpoint: str) -> int:
        """Return the number of requests since the last call."""
        with self._lock:
            return self._invocations.pop(endpoint, 0)

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

    def serve(self, servers: list[ModelServer]) -> None:
        """Route an endpoint to healthy servers; stop the old ones after their current requests."""
        endpoint = servers[0].spec.endpoint
        with self._lock:
            before = self._serving.get(endpoint, [])
            self._serving[endpoint] = servers
        for server in servers:
            asynchronous.in_thread(self._restart_when_it_ends, server)
        for old in before:
            asynchronous.in_thread(_drain_and_stop, old)

    def scale(self, endpoint: str, wanted: int) -> None:
        """Start or stop servers until the endpoint has the wanted number."""
        with self._lock:
            serving = list(self._serving.get(endpoint, []))
        while serving and len(serving) < wanted:
            self._add(self.start(serving[0].spec))
            serving.append(serving[0])
        for surplus in serving[wanted:]:
            if self._take_out(surplus):
                asynchronous.in_thread(_drain_and_stop, surplus)
        _show_count(endpoint, self.count(endpoint))

    def remove(self, endpoint: str) -> None:
        """Stop the servers of an endpoint."""
        with self._lock:
            servers = self._serving.pop(endpoint, [])
        for server in servers:
            server.stop()

    def stop_all(self) -> None:
        """Stop all servers."""
        self.stopping.set()
        with self._lock:
            servers = [server for serving in self._serving.values() for server in serving]
            self._serving.clear()
        for server in servers:
            server.stop()

    def _add(self, server: ModelServer) -> None:
        with self._lock:
            serving = self._serving.get(server.spec.endpoint)
            if serving is not None:
                serving.append(server)
        if serving is None:  # the endpoint was deleted meanwhile
            server.stop()
        else:
            asynchronous.in_thread(self._restart_when_it_ends, server)

    def _take_out(self, server: ModelServer) -> bool:
        """Send no more requests to a server; return False if it got none already."""
        with self._lock:
            serving = self._serving.get(server.spec.endpoint, [])
            if server not in serving:
                return False
            serving.remove(server)
            return True

    def _restart_when_it_ends(self, server: ModelServer) -> None:
        """Restart a model server that ended, as SageMaker restarts a container."""
        server.process.wait()
        while not self.stopping.is_set() and self._serves(server):
            log.warning("the model server of %s ended and is started again", server.spec.endpoint)
            try:
                replacement = self.start(server.spec)
            except (ServerFailed, MissingObject):
                time.sleep(_RESTART_DELAY_S)
                continue
            if self._take_out(server):
                self._add(replacement)
            else:
                replacement.stop()

    def _serves(self, server: ModelServer) -> bool:
        with self._lock:
            return server in self._serving.get(server.spec.endpoint, [])


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
        if endpoint_name in self.endpoints:
            raise AWSValidationException(
                f'Cannot create already existing endpoint "{self.endpoints[endpoint_name].arn}".'
            )
        endpoint = create(self, endpoint_name, endpoint_config_name, tags)
        spec = _spec(endpoint_name, endpoint_config_name)
        endpoint.endpoint_status = "Creating"
        _set_pending(endpoint, endpoint_config_name)
        asynchronous.in_thread(_create, servers, journal, endpoint, spec)
        return endpoint

    def delete_endpoint(self: models.SageMakerModelBackend, endpoint_name: str) -> None:
        self.describe_endpoint(endpoint_name)  # raises an error if it does not exist
        status = self.endpoints[endpoint_name].endpoint_status
        if status in ("Creating", "Updating"):
            raise AWSValidationException(f'Cannot delete endpoint in status "{status}".')
        if status == "Deleting":
            return
        autoscaling.forget(endpoint_name)
        _set_status(self.endpoints[endpoint_name], "Deleting")
        servers.remove(endpoint_name)
        journal.remove("endpoints", endpoint_name)

        def finish() -> None:
            time.sleep(_DELETE_S)
            delete(self, endpoint_name)

        asynchronous.in_thread(finish)

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
    if endpoint.endpoint_status == "Deleting":
        raise AWSValidationException(f'Cannot update endpoint "{endpoint.arn}" in status "Deleting".')
    if endpoint.endpoint_config_name == config:
        raise AWSValidationException("Cannot update endpoint with its current endpoint configuration.")
    _require_possible_change(name, _variant(endpoint.endpoint_config_name), _variant(config))
    spec = _spec(name, config)
    endpoint.endpoint_status = "Updating"
    _set_pending(endpoint, config)
    endpoint.last_modified_time = utcnow()
    retain = bool(request._get_param("RetainAllVariantProperties"))
    asynchronous.in_thread(_replace, servers, journal, endpoint, spec, config, retain)
    arn: str = endpoint.arn
    return arn


def _variant(config_name: str) -> dict[str, Any]:
    variant: dict[str, Any] = backend().endpoint_configs[config_name].production_variants[0]
    return variant


def _require_possible_change(endpoint: str, before: dict[str, Any], after: dict[str, Any]) -> None:
    """Refuse what SageMaker refuses.

    A real-time endpoint cannot become serverless: https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints.html
    One that scales keeps its instance type: https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-scaling-update.html
    """
    if "ServerlessConfig" in after and "ServerlessConfig" not in before:
        raise AWSValidationException(
            "You cannot convert an instance-based, real-time endpoint to a serverless endpoint."
        )
    if before.get("InstanceType") != after.get("InstanceType") and autoscaling.registered(endpoint):
        raise AWSValidationException(
            f'The variant(s) "[{before["VariantName"]}]" must be deregistered as scalable targets with AWS Auto Scaling '
            "before they can be removed or have their instance type updated."
        )


def _start_all(servers: Servers, spec: ModelSpec, count: int) -> list[ModelServer]:
    """Start the servers of an endpoint. If one fails, stop the others.

    Raises:
        ServerFailed: a server did not become healthy.
        MissingObject: the model archive is not in S3.
    """
    started: list[ModelServer] = []
    try:
        while len(started) < count:
            started.append(servers.start(spec))
    except (ServerFailed, MissingObject):
        for server in started:
            server.stop()
        raise
    return started


def _show_count(endpoint: str, count: int) -> None:
    """Show the number of instances in DescribeEndpoint."""
    described = backend().endpoints.get(endpoint)
    for variant in described.production_variants if described else []:
        if "CurrentInstanceCount" in variant:
            variant["CurrentInstanceCount"] = variant["DesiredInstanceCount"] = count


def _create(servers: Servers, journal: Journal, endpoint: models.FakeEndpoint, spec: ModelSpec) -> None:
    try:
        count = int(_variant(endpoint.endpoint_config_name).get("InitialInstanceCount", 1))
        servers.serve(_start_all(servers, spec, count))
    except (ServerFailed, MissingObject) as error:
        _set_status(endpoint, "Failed", str(error))
    else:
        _save(journal, endpoint)
        _set_status(endpoint, "InService")


def _replace(
    servers: Servers,
    journal: Journal,
    endpoint: models.FakeEndpoint,
    spec: ModelSpec,
    config: str,
    retain: bool,
) -> None:
    retained = servers.count(endpoint.endpoint_name) if retain else 0
    try:
        count = retained or int(_variant(config).get("InitialInstanceCount", 1))
        started = _start_all(servers, spec, count)
    except (ServerFailed, MissingObject) as error:
        still_serving = servers.count(endpoint.endpoint_name) > 0
        _set_status(endpoint, "InService" if still_serving else "Failed", str(error))
        return
    variants = backend().endpoint_configs[config].production_variants
    endpoint.production_variants = endpoint._process_production_variants(variants)
    endpoint.endpoint_config_name = config
    servers.serve(started)
    _show_count(endpoint.endpoint_name, count)
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
            count = int(_variant(config).get("InitialInstanceCount", 1))
            servers.serve(_start_all(servers, _spec(name, config), count))
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
        role_arn=model.execution_role_arn,
        image=container["Image"],
        model_data_url=container.get("ModelDataUrl") or source["S3Uri"],
        environment=container.get("Environment") or {},
        memory_mb=(variant.get("ServerlessConfig") or {}).get("MemorySizeInMB"),
    )


def _save(journal: Journal, endpoint: models.FakeEndpoint) -> None:
    record = {"endpoint_config_name": endpoint.endpoint_config_name, "tags": endpoint.tags}
    journal.put("endpoints", endpoint.endpoint_name, record)


def _set_pending(endpoint: models.FakeEndpoint, config: str) -> None:
    """Show the configuration that the endpoint moves to. moto takes an attribute's name as the name in the response."""
    endpoint.pending_deployment_summary = {"EndpointConfigName": config}


def _set_status(endpoint: models.FakeEndpoint, status: str, reason: str | None = None) -> None:
    endpoint.pending_deployment_summary = None
    endpoint.failure_reason = reason
    endpoint.last_modified_time = utcnow()
    endpoint.endpoint_status = status


def _drain_and_stop(server: ModelServer) -> None:
    time.sleep(_DRAIN_S)
    server.stop()
