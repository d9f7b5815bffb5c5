"""Endpoints: create, update (the new one must be healthy before the old one goes), delete, restore.

moto 5.2.5 has no update_endpoint, and its endpoints are InService at once with nothing behind them. A failed update leaves the
old model serving: status InService, FailureReason set, EndpointConfigName still the old one, as AWS's blue/green updates do.
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

from local.aws.ecr import Registry
from local.aws.journal import Journal
from local.aws.sagemaker import names
from local.aws.sagemaker.files import MissingObject
from local.aws.sagemaker.resources import backend
from local.aws.sagemaker.servers import ModelServer, ModelSpec, ServerFailed
from local.aws.settings import Settings

log = logging.getLogger(__name__)

# The old server may still be answering.
_DRAIN_S = 1.0
_RESTART_DELAY_S = 1.0


class Servers:
    """The model server of every endpoint."""

    def __init__(self, settings: Settings, registry: Registry) -> None:
        self.settings = settings
        self.registry = registry
        self._serving: dict[str, ModelServer] = {}
        self._changed = threading.Condition()
        self._stopping = False

    def get(self, endpoint: str) -> ModelServer | None:
        with self._changed:
            return self._serving.get(endpoint)

    def start(self, spec: ModelSpec) -> ModelServer:
        server = ModelServer(self.settings, self.registry, spec)
        try:
            server.wait_till_healthy()
        except ServerFailed:
            server.stop()
            raise
        return server

    def serve(self, server: ModelServer) -> None:
        """Puts a healthy server in front; the one before is stopped once it has answered."""
        with self._changed:
            before = self._serving.get(server.spec.endpoint)
            self._serving[server.spec.endpoint] = server
            self._changed.notify_all()
        threading.Thread(target=self._revive, args=(server,), daemon=True).start()
        if before is not None:
            threading.Thread(target=lambda: (time.sleep(_DRAIN_S), before.stop()), daemon=True).start()

    def remove(self, endpoint: str) -> None:
        with self._changed:
            server = self._serving.pop(endpoint, None)
        if server is not None:
            server.stop()

    def stop_all(self) -> None:
        with self._changed:
            self._stopping = True
            servers = list(self._serving.values())
            self._serving.clear()
        for server in servers:
            server.stop()

    def _revive(self, server: ModelServer) -> None:
        """A model server that dies is started again, as SageMaker restarts a container."""
        server.process.wait()
        endpoint = server.spec.endpoint
        while not self._stopping and self.get(endpoint) is server:
            log.warning("the model server of %s ended; starting it again", endpoint)
            try:
                replacement = self.start(server.spec)
            except (ServerFailed, MissingObject):
                time.sleep(_RESTART_DELAY_S)
                continue
            self.serve(replacement)


_servers: Servers | None = None


def stop_all() -> None:
    """Ends every model server, for the process's own end."""
    if _servers is not None:
        _servers.stop_all()


def install(settings: Settings, registry: Registry, journal: Journal) -> Servers:
    """Patches moto's endpoints and starts those that existed."""
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
        _in_thread(_create, servers, journal, endpoint, spec)
        return endpoint

    def delete_endpoint(self: models.SageMakerModelBackend, endpoint_name: str) -> None:
        self.describe_endpoint(endpoint_name)  # raises when there is none
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
    for name, about in journal.all("endpoints").items():
        _restore(create, servers, name, about)
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
    _in_thread(_replace, servers, journal, endpoint, spec, config)
    arn: str = endpoint.arn
    return arn


def _create(servers: Servers, journal: Journal, endpoint: models.FakeEndpoint, spec: ModelSpec) -> None:
    try:
        servers.serve(servers.start(spec))
    except (ServerFailed, MissingObject) as error:
        _become(endpoint, "Failed", str(error))
    else:
        _keep(journal, endpoint)
        _become(endpoint, "InService")


def _replace(
    servers: Servers, journal: Journal, endpoint: models.FakeEndpoint, spec: ModelSpec, config: str
) -> None:
    try:
        server = servers.start(spec)
    except (ServerFailed, MissingObject) as error:
        still_serving = servers.get(endpoint.endpoint_name) is not None
        _become(endpoint, "InService" if still_serving else "Failed", str(error))
        return
    variants = backend().endpoint_configs[config].production_variants
    endpoint.production_variants = endpoint._process_production_variants(variants)
    endpoint.endpoint_config_name = config
    servers.serve(server)
    _keep(journal, endpoint)
    _become(endpoint, "InService")


def _restore(create: Any, servers: Servers, name: str, about: dict[str, Any]) -> None:
    config = about["endpoint_config_name"]
    if config not in backend().endpoint_configs:
        log.error("endpoint %s is lost: its configuration %s is gone. Publish it again.", name, config)
        return
    endpoint = create(backend(), name, config, about["tags"])
    endpoint.endpoint_status = "Updating"

    def start() -> None:
        try:
            servers.serve(servers.start(_spec(name, config)))
        except (ServerFailed, MissingObject) as error:
            _become(endpoint, "Failed", str(error))
        else:
            _become(endpoint, "InService")

    _in_thread(start)


def _spec(endpoint: str, config_name: str) -> ModelSpec:
    """What the configuration's first variant serves; traffic is not split here."""
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


def _keep(journal: Journal, endpoint: models.FakeEndpoint) -> None:
    about = {"endpoint_config_name": endpoint.endpoint_config_name, "tags": endpoint.tags}
    journal.put("endpoints", endpoint.endpoint_name, about)


def _become(endpoint: models.FakeEndpoint, status: str, reason: str | None = None) -> None:
    endpoint.failure_reason = reason
    endpoint.last_modified_time = utcnow()
    endpoint.endpoint_status = status


def _in_thread(function: Any, *arguments: Any) -> None:
    threading.Thread(target=_logged, args=(function, *arguments), daemon=True).start()


def _logged(function: Any, *arguments: Any) -> None:
    try:
        function(*arguments)
    except Exception:  # the outermost frame of a thread: anything here would vanish
        log.exception("endpoint work failed")
