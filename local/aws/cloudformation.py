"""CloudFormation: delivery streams, log streams and secrets, which moto 5.2.5 skips, and missing options of buckets.

Resource policies stay skipped, because nothing here evaluates them. Alarms are in cloudwatch/install.py.
"""

from __future__ import annotations

import json
import re
from typing import Any

from moto.cloudformation import parsing
from moto.cloudformation.exceptions import ValidationError
from moto.cloudformation.models import CloudFormationBackend
from moto.cloudformation.responses import CloudFormationResponse
from moto.core.common_models import CloudFormationModel
from moto.core.responses import ActionResult
from moto.firehose.models import firehose_backends
from moto.iam import models as iam_models
from moto.logs.models import logs_backends
from moto.s3.models import FakeBucket, s3_backends
from moto.secretsmanager.models import secretsmanager_backends
from moto.stepfunctions import models as stepfunctions_models
from moto.stepfunctions.parser.models import stepfunctions_parser_backends

from local.aws import cloudformation_rules, nested, stack_updates
from local.aws.patching import patch_resource_type


class DeliveryStream(CloudFormationModel):
    """AWS::KinesisFirehose::DeliveryStream with an S3 destination, created and deleted through moto's own Firehose."""

    def __init__(self, name: str, arn: str) -> None:
        self.name = name
        self.arn = arn

    @property
    def physical_resource_id(self) -> str:
        return self.name

    @staticmethod
    def cloudformation_name_type() -> str:
        return "DeliveryStreamName"

    @staticmethod
    def cloudformation_type() -> str:
        return "AWS::KinesisFirehose::DeliveryStream"

    @classmethod
    def has_cfn_attr(cls, attr: str) -> bool:
        return attr == "Arn"

    def get_cfn_attribute(self, attribute_name: str) -> str:
        if attribute_name == "Arn":
            return self.arn
        raise KeyError(attribute_name)

    @classmethod
    def create_from_cloudformation_json(
        cls, resource_name: str, cloudformation_json: Any, account_id: str, region_name: str, **_: Any
    ) -> DeliveryStream:
        properties = cloudformation_json["Properties"]
        arn = firehose_backends[account_id][region_name].create_delivery_stream(
            region=region_name,
            delivery_stream_name=resource_name,
            delivery_stream_type=properties.get("DeliveryStreamType", "DirectPut"),
            kinesis_stream_source_configuration={},
            delivery_stream_encryption_configuration_input={},
            s3_destination_configuration={},
            extended_s3_destination_configuration=_typed(properties["ExtendedS3DestinationConfiguration"]),
            redshift_destination_configuration={},
            elasticsearch_destination_configuration={},
            splunk_destination_configuration={},
            http_endpoint_destination_configuration={},
            snowflake_destination_configuration={},
            iceberg_destination_configuration={},
            tags=[],
        )
        return cls(resource_name, arn)

    @classmethod
    def update_from_cloudformation_json(
        cls,
        original_resource: Any,
        new_resource_name: str,
        cloudformation_json: Any,
        account_id: str,
        region_name: str,
    ) -> DeliveryStream:
        streams = firehose_backends[account_id][region_name].delivery_streams
        version = int(streams[original_resource.name].version_id)
        cls.delete_from_cloudformation_json(
            original_resource.name, cloudformation_json, account_id, region_name
        )
        updated = cls.create_from_cloudformation_json(
            new_resource_name, cloudformation_json, account_id, region_name
        )
        # Keys of objects contain the version, which grows with each change of the stream.
        streams[new_resource_name].version_id = str(version + 1)
        return updated

    @classmethod
    def delete_from_cloudformation_json(
        cls, resource_name: str, cloudformation_json: Any, account_id: str, region_name: str, **_: Any
    ) -> None:
        backend = firehose_backends[account_id][region_name]
        if resource_name in backend.delivery_streams:
            backend.delete_delivery_stream(resource_name)


class Secret(CloudFormationModel):
    """AWS::SecretsManager::Secret with a generated value or none, created through moto's own Secrets Manager.

    As in AWS, the deletion of a stack deletes its secrets at once, without a recovery window that blocks their names.
    """

    def __init__(self, name: str, arn: str) -> None:
        self.name = name
        self.arn = arn

    @property
    def physical_resource_id(self) -> str:
        return self.arn

    @staticmethod
    def cloudformation_name_type() -> str:
        return "Name"

    @staticmethod
    def cloudformation_type() -> str:
        return "AWS::SecretsManager::Secret"

    @classmethod
    def create_from_cloudformation_json(
        cls, resource_name: str, cloudformation_json: Any, account_id: str, region_name: str, **_: Any
    ) -> Secret:
        properties = cloudformation_json["Properties"]
        backend = secretsmanager_backends[account_id][region_name]
        created = backend.create_secret(
            name=resource_name,
            secret_string=cls._generated(properties, backend),
            secret_binary=None,
            description=properties.get("Description"),
            tags=None,
            kms_key_id=None,
            client_request_token=None,
            replica_regions=[],
            force_overwrite=False,
        )
        return cls(resource_name, json.loads(created)["ARN"])

    @staticmethod
    def _generated(properties: dict[str, Any], backend: Any) -> str | None:
        """Return the generated value. Without GenerateSecretString, AWS creates an empty secret."""
        if "GenerateSecretString" not in properties:
            return None
        generate = _typed(properties["GenerateSecretString"])
        password = backend.get_random_password(
            password_length=generate.get("PasswordLength", 32),
            exclude_characters=generate.get("ExcludeCharacters", ""),
            exclude_numbers=generate.get("ExcludeNumbers", False),
            exclude_punctuation=generate.get("ExcludePunctuation", False),
            exclude_uppercase=generate.get("ExcludeUppercase", False),
            exclude_lowercase=generate.get("ExcludeLowercase", False),
            include_space=generate.get("IncludeSpace", False),
            require_each_included_type=generate.get("RequireEachIncludedType", True),
        )
        return str(json.loads(password)["RandomPassword"])

    @classmethod
    def update_from_cloudformation_json(cls, original_resource: Any, *_: Any, **__: Any) -> Secret:
        assert isinstance(original_resource, cls)
        return original_resource

    @classmethod
    def delete_from_cloudformation_json(
        cls, resource_name: str, cloudformation_json: Any, account_id: str, region_name: str, **_: Any
    ) -> None:
        secretsmanager_backends[account_id][region_name].delete_secret(
            secret_id=resource_name, recovery_window_in_days=None, force_delete_without_recovery=True
        )


class LogStream(CloudFormationModel):
    """AWS::Logs::LogStream, created through moto's own CloudWatch Logs."""

    def __init__(self, name: str, group: str) -> None:
        self.name = name
        self.group = group

    @property
    def physical_resource_id(self) -> str:
        return self.name

    @staticmethod
    def cloudformation_name_type() -> str:
        return "LogStreamName"

    @staticmethod
    def cloudformation_type() -> str:
        return "AWS::Logs::LogStream"

    @classmethod
    def create_from_cloudformation_json(
        cls, resource_name: str, cloudformation_json: Any, account_id: str, region_name: str, **_: Any
    ) -> LogStream:
        group = cloudformation_json["Properties"]["LogGroupName"]
        logs_backends[account_id][region_name].create_log_stream(group, resource_name)
        return cls(resource_name, group)

    @classmethod
    def update_from_cloudformation_json(cls, original_resource: Any, *_: Any, **__: Any) -> LogStream:
        assert isinstance(original_resource, cls)
        return original_resource

    def delete(self, account_id: str, region_name: str) -> None:
        group = logs_backends[account_id][region_name].groups.get(self.group)
        if group is not None:  # deleted with all its streams
            group.streams.pop(self.name, None)


def _typed(value: Any) -> Any:
    """Return a copy with numbers and booleans instead of the texts that CloudFormation passes."""
    return nested.mapped(
        value, lambda leaf: int(leaf) if isinstance(leaf, str) and leaf.isdigit() else nested.boolean(leaf)
    )


def install() -> None:
    """Register the resource types above and patch state machines and buckets of templates.

    moto 5.2.5 collects the subclasses of CloudFormationModel once and caches the list. It creates state machines of a stack
    in the backend that only records executions, while the API uses the backend that runs them.
    """
    stepfunctions_models.stepfunctions_backends = stepfunctions_parser_backends
    parsing.get_model_list.cache_clear()
    parsing.get_model_map.cache_clear()
    _adopt_and_configure_buckets()
    cloudformation_rules.install()
    _protect_stacks()
    stack_updates.install()
    patch_resource_type(stepfunctions_models.StateMachine, before=_fill_in_definition)
    patch_resource_type(iam_models.Role, before=_write_policies_as_json)


def _protect_stacks() -> None:
    # moto 5.2.5 has no UpdateTerminationProtection and deletes a protected stack.
    delete = CloudFormationBackend.delete_stack

    def update_termination_protection(self: CloudFormationResponse) -> ActionResult:
        stack = self.cloudformation_backend.get_stack(self._get_param("StackName"))
        stack.enable_termination_protection = self._get_bool_param("EnableTerminationProtection")
        return ActionResult({"StackId": stack.stack_id})

    def delete_stack(self: CloudFormationBackend, name_or_stack_id: str) -> None:
        for stack in self.stacks.values():
            if name_or_stack_id in (stack.name, stack.stack_id) and stack.enable_termination_protection:
                raise ValidationError(
                    message=f"Stack [{stack.name}] cannot be deleted while TerminationProtection is enabled"
                )
        delete(self, name_or_stack_id)

    CloudFormationResponse.update_termination_protection = update_termination_protection
    CloudFormationBackend.delete_stack = delete_stack


def _write_policies_as_json(properties: dict[str, Any]) -> None:
    """Convert inline policies to JSON. moto 5.2.5 keeps the objects of a template, and GetRolePolicy returns Python's text."""
    for policy in properties.get("Policies", []):
        if not isinstance(policy["PolicyDocument"], str):
            policy["PolicyDocument"] = json.dumps(policy["PolicyDocument"])


def _fill_in_definition(properties: dict[str, Any]) -> None:
    """Replace `${Key}` in the DefinitionString of a state machine by the value in its DefinitionSubstitutions.

    moto 5.2.5 ignores DefinitionSubstitutions. A placeholder without a value stays unchanged.
    """
    values = properties.get("DefinitionSubstitutions", {})
    properties["DefinitionString"] = re.sub(
        r"\$\{(\w+)\}",
        lambda placeholder: str(values.get(placeholder[1], placeholder[0])),
        properties["DefinitionString"],
    )


def _adopt_and_configure_buckets() -> None:
    """Let stacks adopt existing buckets, and configure their notifications and versioning.

    moto 5.2.5 ignores ImportExistingResources, with which a stack adopts a bucket that an earlier stack retained. It also
    ignores the NotificationConfiguration and VersioningConfiguration of a bucket. After a restart of this process, buckets
    exist and stacks do not, so the next deployment must adopt its buckets too.
    `cloudformation_rules.py` refuses the buckets that AWS would not import.
    """
    original = FakeBucket.create_from_cloudformation_json.__func__

    def create(
        cls: type[FakeBucket],
        resource_name: str,
        cloudformation_json: Any,
        account_id: str,
        region_name: str,
        /,
        **kwargs: Any,
    ) -> FakeBucket:
        bucket = s3_backends[account_id]["aws"].buckets.get(resource_name)
        if bucket is None:
            bucket = original(cls, resource_name, cloudformation_json, account_id, region_name, **kwargs)
        if (
            cloudformation_json.get("Properties", {}).get("VersioningConfiguration", {}).get("Status")
            == "Enabled"
        ):
            bucket.versioning_status = "Enabled"
        _notify(bucket, cloudformation_json)
        return bucket

    update_original = FakeBucket.update_from_cloudformation_json.__func__

    def update(cls: type[FakeBucket], /, **given: Any) -> FakeBucket:
        bucket: FakeBucket = update_original(cls, **given)
        _notify(bucket, given["cloudformation_json"])
        return bucket

    FakeBucket.create_from_cloudformation_json = classmethod(create)
    FakeBucket.update_from_cloudformation_json = classmethod(update)


def _notify(bucket: FakeBucket, cloudformation_json: Any) -> None:
    given = cloudformation_json.get("Properties", {}).get("NotificationConfiguration", {})
    configuration: dict[str, Any] = {}
    if given.get("EventBridgeConfiguration", {}).get("EventBridgeEnabled"):
        configuration["EventBridgeConfiguration"] = {}
    # CloudFormation has one event per entry, and other names than the API.
    queues = [
        {
            "Queue": one["Queue"],
            "Event": [one["Event"]],
            "Filter": {"S3Key": {"FilterRule": one.get("Filter", {}).get("S3Key", {}).get("Rules", [])}},
        }
        for one in given.get("QueueConfigurations", [])
        if one  # moto leaves None where a condition chose AWS::NoValue
    ]
    if queues:
        configuration["QueueConfiguration"] = queues
    if configuration:
        bucket.set_notification_configuration(configuration)
