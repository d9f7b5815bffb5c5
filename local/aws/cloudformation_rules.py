"""CloudFormation's refusals: existing resources that a stack may not import, and properties that a service would refuse.

moto 5.2.5 creates every resource that it can and has no failed stacks. Here a refused resource is CREATE_FAILED with its reason.
The stack ends as ROLLBACK_COMPLETE or UPDATE_ROLLBACK_COMPLETE, as on AWS, but a failed update leaves what it changed before.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any, NamedTuple

from botocore.model import ListShape, MapShape, Shape, StructureShape
from moto.cloudformation import parsing
from moto.cloudformation.models import ChangeSet, CloudFormationBackend, Event, Stack
from moto.cloudformation.responses import CloudFormationResponse
from moto.core.exceptions import JsonRESTError, ServiceException
from moto.core.utils import get_service_model
from moto.s3.models import s3_backends

from local.aws.settings import ACCOUNT_ID
from local.aws.validation import errors, requests

_BUCKET = "AWS::S3::Bucket"


class _Call(NamedTuple):
    """The call that creates a resource; `renamed` maps properties to other names of the same members."""

    service: str
    operation: str
    renamed: dict[str, str] = {}  # noqa: RUF012  # never changed


_CALLS: dict[str, tuple[_Call, ...]] = {
    "AWS::Budgets::Budget": (_Call("budgets", "CreateBudget"),),
    "AWS::CloudWatch::Alarm": (_Call("cloudwatch", "PutMetricAlarm"),),
    "AWS::CodeBuild::Project": (_Call("codebuild", "CreateProject"),),
    "AWS::ECR::Repository": (_Call("ecr", "CreateRepository"),),
    "AWS::Events::Rule": (_Call("events", "PutRule"), _Call("events", "PutTargets")),
    "AWS::IAM::Role": (_Call("iam", "CreateRole"),),
    "AWS::KinesisFirehose::DeliveryStream": (_Call("firehose", "CreateDeliveryStream"),),
    "AWS::Logs::LogGroup": (_Call("logs", "CreateLogGroup"),),
    "AWS::SecretsManager::Secret": (_Call("secretsmanager", "CreateSecret"),),
    "AWS::StepFunctions::StateMachine": (
        _Call(
            "stepfunctions",
            "CreateStateMachine",
            {"StateMachineName": "name", "StateMachineType": "type", "DefinitionString": "definition"},
        ),
    ),
}


class ResourceRefused(Exception):
    """A resource that CloudFormation or its service refuses."""

    def __init__(self, logical_id: str, resource_type: str, reason: str) -> None:
        super().__init__(reason)
        self.logical_id = logical_id
        self.resource_type = resource_type
        self.reason = reason


_importing: ContextVar[bool] = ContextVar("importing", default=False)
_retain_except_on_create: ContextVar[bool] = ContextVar("retain_except_on_create", default=False)


def install() -> None:
    """Patch moto's CloudFormation."""
    _remember_import_option()
    _refuse_resources()
    _fail_stacks()


def may_import(resource: dict[str, Any]) -> bool:
    """Return True if ImportExistingResources covers a resource: a literal name and a deletion policy.

    https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/import-resources-automatically.html
    """
    name = resource.get("Properties", {}).get("BucketName")
    return resource["Type"] == _BUCKET and isinstance(name, str) and "DeletionPolicy" in resource


def property_violations(resource_type: str, properties: dict[str, Any]) -> list[str]:
    """Return the errors of the services for resolved properties of a resource."""
    found = []
    for call in _CALLS.get(resource_type, ()):
        service = get_service_model(call.service)
        operation = service.operation_model(call.operation)
        parameters = _members(operation.input_shape, properties, call.renamed)
        violations = requests.violations(call.service, call.operation, parameters, partial_request=True)
        if violations:
            found.append(errors.invalid(service, operation, violations).message)
    return found


def _remember_import_option() -> None:
    create, execute = CloudFormationResponse.create_change_set, CloudFormationResponse.execute_change_set

    def create_change_set(self: CloudFormationResponse) -> Any:
        created = create(self)
        change_set = self.cloudformation_backend.change_sets[created.result["Id"]]
        change_set.importing = bool(self._get_param("ImportExistingResources"))
        if change_set.importing:
            for change in change_set.changes:
                resource = change_set.template_dict["Resources"].get(change.logical_resource_id)
                if change.action == "Add" and may_import(resource) and _exists(resource):
                    change.action = "Import"
        return created

    def execute_change_set(self: CloudFormationResponse) -> Any:
        _retain_except_on_create.set(bool(self._get_param("RetainExceptOnCreate")))
        return execute(self)

    CloudFormationResponse.create_change_set = create_change_set
    CloudFormationResponse.execute_change_set = execute_change_set


def _exists(bucket: dict[str, Any]) -> bool:
    return bucket["Properties"]["BucketName"] in s3_backends[ACCOUNT_ID]["aws"].buckets


def _refuse_resources() -> None:
    create, update = parsing.parse_and_create_resource, parsing.parse_and_update_resource

    def create_resource(
        logical_id: str, resource_json: dict[str, Any], resources_map: Any, *args: Any, **kwargs: Any
    ) -> Any:
        condition = resource_json.get("Condition")
        if condition and not resources_map.lazy_condition_map[condition]:
            return None
        with _reasons(logical_id, resource_json["Type"]):
            _check(logical_id, resource_json, resources_map)
            _refuse_existing_bucket(logical_id, resource_json, resources_map)
            return create(logical_id, resource_json, resources_map, *args, **kwargs)

    def update_resource(
        logical_id: str, resource_json: dict[str, Any], resources_map: Any, *args: Any, **kwargs: Any
    ) -> Any:
        with _reasons(logical_id, resource_json["Type"]):
            _check(logical_id, resource_json, resources_map)
            return update(logical_id, resource_json, resources_map, *args, **kwargs)

    parsing.parse_and_create_resource = create_resource
    parsing.parse_and_update_resource = update_resource


@contextlib.contextmanager
def _reasons(logical_id: str, resource_type: str) -> Iterator[None]:
    """Give a service's error to the resource that caused it."""
    try:
        yield
    except (JsonRESTError, ServiceException) as error:
        raise ResourceRefused(logical_id, resource_type, str(error.message)) from error


def _check(logical_id: str, resource_json: dict[str, Any], resources_map: Any) -> None:
    resource_type = resource_json["Type"]
    if resource_type not in _CALLS:
        return
    properties = parsing.clean_json(resource_json.get("Properties", {}), resources_map)
    for reason in property_violations(resource_type, properties):
        raise ResourceRefused(logical_id, resource_type, f'Resource handler returned message: "{reason}"')


def _refuse_existing_bucket(logical_id: str, resource_json: dict[str, Any], resources_map: Any) -> None:
    if resource_json["Type"] != _BUCKET:
        return
    properties = parsing.clean_json(resource_json.get("Properties", {}), resources_map)
    name = properties.get("BucketName")
    imports = _importing.get() and may_import(resource_json)
    if name in s3_backends[ACCOUNT_ID]["aws"].buckets and not imports:
        raise ResourceRefused(logical_id, _BUCKET, f"{name} already exists")


def _fail_stacks() -> None:
    execute = CloudFormationBackend.execute_change_set

    def execute_change_set(
        self: CloudFormationBackend, change_set_name: str, stack_name: str | None = None
    ) -> None:
        change_set = _change_set(self, change_set_name)
        _importing.set(getattr(change_set, "importing", False))
        existing = set(s3_backends[ACCOUNT_ID]["aws"].buckets)
        try:
            execute(self, change_set_name, stack_name)
        except ResourceRefused as refusal:
            _roll_back(change_set.stack, change_set.change_set_type, refusal, existing)
            change_set.execution_status = "EXECUTE_FAILED"

    CloudFormationBackend.execute_change_set = execute_change_set


def _change_set(backend: CloudFormationBackend, name: str) -> ChangeSet:
    found = backend.change_sets.get(name)
    return found or next(c for c in backend.change_sets.values() if c.change_set_name == name)


def _roll_back(stack: Stack, change_set_type: str, refusal: ResourceRefused, existing: set[str]) -> None:
    kind = "CREATE" if change_set_type == "CREATE" else "UPDATE"
    stack.events.append(
        Event(
            stack_id=stack.stack_id,
            stack_name=stack.name,
            logical_resource_id=refusal.logical_id,
            physical_resource_id="",
            resource_type=refusal.resource_type,
            resource_status=f"{kind}_FAILED",
            resource_status_reason=refusal.reason,
            resource_properties=None,
        )
    )
    status = "ROLLBACK_COMPLETE" if kind == "CREATE" else "UPDATE_ROLLBACK_COMPLETE"
    if kind == "CREATE":
        stack.resource_map.delete()
        if _retain_except_on_create.get():
            _delete_new_buckets(stack, existing)
    stack._add_stack_event(status)
    stack.status = status


def _delete_new_buckets(stack: Stack, existing: set[str]) -> None:
    """Delete the retained buckets that this creation made; those it imported stay."""
    s3 = s3_backends[ACCOUNT_ID]["aws"]
    for resource in stack.resource_map._parsed_resources.values():
        name = getattr(resource, "name", None)
        if getattr(resource, "cf_resource_type", None) == _BUCKET and name not in existing:
            s3.delete_bucket(name)


def _members(shape: Shape, properties: dict[str, Any], renamed: dict[str, str]) -> dict[str, Any]:
    """Return the members of a request that resources name in the same way; CloudFormation begins each with a capital."""
    names = {name.lower(): name for name in shape.members}
    found: dict[str, Any] = {}
    for key, value in properties.items():
        name = renamed.get(key) or names.get(key.lower())
        if name is not None:
            member = _value(shape.members[name], value)
            if member is not None:
                found[name] = member
    return found


def _value(shape: Shape, value: Any) -> Any:
    """Return a property as the member of a request, or None if they differ in kind."""
    if isinstance(shape, StructureShape):
        return _members(shape, value, {}) if isinstance(value, dict) else None
    if isinstance(shape, ListShape):
        return [_value(shape.member, item) for item in value] if isinstance(value, list) else None
    if isinstance(shape, MapShape):
        return (
            {key: _value(shape.value, item) for key, item in value.items()}
            if isinstance(value, dict)
            else None
        )
    if shape.type_name == "string":
        return json.dumps(value) if isinstance(value, dict | list) else str(value)
    if shape.type_name in ("integer", "long"):
        return int(value)
    if shape.type_name in ("float", "double"):
        return float(value)
    return value
