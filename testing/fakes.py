"""Fakes of AWS services with the behavior that the code under test uses."""

import hashlib
import io
import json
from collections.abc import Callable, Iterator
from copy import copy
from datetime import UTC, datetime, timedelta
from typing import IO, Any

from botocore.exceptions import ClientError


def client_error(code: str, message: str = "") -> ClientError:
    """Return the error that botocore raises for a response with this code."""
    return ClientError({"Error": {"Code": code, "Message": message or code}}, "operation")


def etag(body: bytes) -> str:
    """Return the ETag of an object that was written in one part."""
    return f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'


class FakeFirehose:
    """Firehose that keeps records per stream.

    It refuses the next `refuse_next` records one by one, and the next `break_next` calls fail completely.
    """

    def __init__(self, refuse_next: int = 0, break_next: int = 0) -> None:
        self.streams: dict[str, list[bytes]] = {}
        self.refuse_next = refuse_next
        self.break_next = break_next

    def put_record_batch(self, DeliveryStreamName: str, Records: list[dict[str, bytes]]) -> dict[str, Any]:
        assert len(Records) <= 500
        assert sum(len(record["Data"]) for record in Records) <= 4 * 1024 * 1024
        if self.break_next:
            self.break_next -= 1
            raise client_error("ServiceUnavailableException")
        results = []
        for record in Records:
            assert len(record["Data"]) <= 1000 * 1024
            if self.refuse_next:
                self.refuse_next -= 1
                results.append({"ErrorCode": "ServiceUnavailableException", "ErrorMessage": "slow down"})
            else:
                self.streams.setdefault(DeliveryStreamName, []).append(record["Data"])
                results.append({"RecordId": "r"})
        failed = sum("ErrorCode" in result for result in results)
        return {"FailedPutCount": failed, "RequestResponses": results}

    def lines(self, stream: str) -> list[dict[str, Any]]:
        """Return the lines of all records of a stream, parsed."""
        return [json.loads(line) for record in self.streams.get(stream, []) for line in record.splitlines()]


class FakeSecrets:
    """Secrets Manager with the versions of one secret; `down` makes every call fail."""

    def __init__(self, value: str = "key-1") -> None:
        self.versions = {"AWSCURRENT": value}
        self.down = False
        self.calls = 0

    def rotate(self, value: str) -> None:
        """Make `value` the current version, and the current one the previous."""
        self.versions = {"AWSCURRENT": value, "AWSPREVIOUS": self.versions["AWSCURRENT"]}

    def get_secret_value(self, SecretId: str, VersionStage: str) -> dict[str, str]:
        self.calls += 1
        if self.down:
            raise client_error("InternalServiceError")
        if VersionStage not in self.versions:
            raise client_error("ResourceNotFoundException")
        return {"SecretString": self.versions[VersionStage]}


class FakeS3:
    """S3 with objects by (bucket, key); `down` makes every call fail. Lists have `page_size` sorted keys per page.

    IfMatch and IfNoneMatch are checked as S3 does.
    """

    class exceptions:
        """The errors of the client, by boto3's names."""

        class NoSuchKey(ClientError):
            """There is no object under the key."""

        class NoSuchBucket(ClientError):
            """There is no such bucket."""

    def __init__(self, page_size: int = 1000) -> None:
        self.objects: dict[tuple[str, str], bytes] = {}
        self.stored_at: dict[tuple[str, str], datetime] = {}
        self.tags: dict[tuple[str, str], dict[str, str]] = {}
        self.metadata: dict[tuple[str, str], dict[str, str]] = {}
        self.down = False
        # Called before each request that needs an answer. A test that raises here ends the caller at that request.
        self.before_request: Callable[[], None] = lambda: None
        self.page_size = page_size
        self.pages_listed = 0

    def _check(self) -> None:
        self.before_request()
        if self.down:
            raise client_error("InternalError")

    def _check_condition(self, Bucket: str, Key: str, IfMatch: str = "", IfNoneMatch: str = "") -> None:
        stored = self.objects.get((Bucket, Key))
        if IfMatch and stored is None:
            raise client_error("NoSuchKey")
        if (IfMatch and IfMatch != etag(stored or b"")) or (IfNoneMatch and stored is not None):
            raise client_error("PreconditionFailed")

    def put_object(
        self,
        Bucket: str,
        Key: str,
        Body: bytes,
        IfMatch: str = "",
        IfNoneMatch: str = "",
        Metadata: dict[str, str] | None = None,
        **_: Any,
    ) -> dict[str, Any]:
        self._check()
        self._check_condition(Bucket, Key, IfMatch, IfNoneMatch)
        self.objects[Bucket, Key] = Body
        self.metadata[Bucket, Key] = Metadata or {}
        return {"ETag": etag(Body), **self._new_version(Bucket, Key, Body)}

    def _new_version(self, Bucket: str, Key: str, Body: bytes | None) -> dict[str, str]:
        return {}

    def upload_fileobj(self, Fileobj: IO[bytes], Bucket: str, Key: str, **_: Any) -> None:
        self.put_object(Bucket, Key, Fileobj.read())

    def get_object(
        self, Bucket: str, Key: str, Range: str = "", IfNoneMatch: str = "", **_: Any
    ) -> dict[str, Any]:
        self._check()
        if (Bucket, Key) not in self.objects:
            raise client_error("NoSuchKey")
        body = self.objects[Bucket, Key]
        if IfNoneMatch and IfNoneMatch == etag(body):
            raise client_error("304")
        if Range:
            first, last = Range.removeprefix("bytes=").split("-")
            body = body[int(first) : int(last) + 1]
        stored_at = self.stored_at.get((Bucket, Key), datetime(2020, 1, 1, tzinfo=UTC))
        return {
            "Body": io.BytesIO(body),
            "ETag": etag(self.objects[Bucket, Key]),
            "LastModified": stored_at,
        }

    def head_object(self, Bucket: str, Key: str) -> dict[str, Any]:
        self._check()
        if (Bucket, Key) not in self.objects:
            raise client_error("404")
        metadata = self.metadata.get((Bucket, Key), {})
        return {"ContentLength": len(self.objects[Bucket, Key]), "Metadata": metadata}

    def put_object_tagging(self, Bucket: str, Key: str, Tagging: dict[str, Any]) -> dict[str, Any]:
        self._check()
        if (Bucket, Key) not in self.objects:
            raise client_error("NoSuchKey")
        self.tags[Bucket, Key] = {tag["Key"]: tag["Value"] for tag in Tagging["TagSet"]}
        return {}

    def copy(self, CopySource: dict[str, str], Bucket: str, Key: str, Config: Any = None) -> None:
        self._check()
        self.objects[Bucket, Key] = self.objects[CopySource["Bucket"], CopySource["Key"]]

    def delete_object(self, Bucket: str, Key: str, IfMatch: str = "") -> dict[str, Any]:
        self._check()
        self._check_condition(Bucket, Key, IfMatch)
        self.objects.pop((Bucket, Key), None)
        return {}

    def delete_objects(self, Bucket: str, Delete: dict[str, list[dict[str, str]]]) -> dict[str, Any]:
        for each in Delete["Objects"]:
            self.delete_object(Bucket, each["Key"])
        return {}

    def get_paginator(self, operation: str) -> "FakeS3":
        assert operation == "list_objects_v2"
        return self

    def paginate(self, Bucket: str, Prefix: str, **_: Any) -> Iterator[dict[str, Any]]:
        self._check()
        found = sorted(key for bucket, key in self.objects if bucket == Bucket and key.startswith(Prefix))
        for start in range(0, max(len(found), 1), self.page_size):
            self.pages_listed += 1
            contents = [
                {
                    "Key": key,
                    "Size": len(self.objects[Bucket, key]),
                    "LastModified": self.stored_at.get((Bucket, key), datetime(2020, 1, 1, tzinfo=UTC)),
                }
                for key in found[start : start + self.page_size]
            ]
            # As S3, a page without objects has no such key.
            yield {"Contents": contents} if contents else {}

    def json(self, bucket: str, key: str) -> Any:
        """Return an object, parsed."""
        return json.loads(self.objects[bucket, key])


class VersionedS3(FakeS3):
    """FakeS3 with versioning: `versions` has every content of a key, oldest first. None is a delete marker."""

    def __init__(self, page_size: int = 1000) -> None:
        super().__init__(page_size)
        self.versions: dict[tuple[str, str], list[tuple[str, bytes | None]]] = {}
        self._clock = datetime(2026, 1, 1, tzinfo=UTC)
        self._listing = ""

    def _new_version(self, Bucket: str, Key: str, Body: bytes | None) -> dict[str, str]:
        self._clock += timedelta(seconds=1)
        self.stored_at[Bucket, Key] = self._clock
        name = f"v{self._clock:%j%H%M%S}"
        self.versions.setdefault((Bucket, Key), []).append((name, Body))
        return {"VersionId": name}

    def get_object(
        self, Bucket: str, Key: str, Range: str = "", IfNoneMatch: str = "", VersionId: str = "", **_: Any
    ) -> dict[str, Any]:
        if not VersionId:
            return super().get_object(Bucket, Key, Range, IfNoneMatch)
        self._check()
        found = dict(self.versions.get((Bucket, Key), [])).get(VersionId)
        if found is None:
            raise client_error("MethodNotAllowed")
        return {"Body": io.BytesIO(found), "ETag": etag(found), "LastModified": self._clock}

    def get_object_tagging(self, Bucket: str, Key: str) -> dict[str, Any]:
        self._check()
        tags = self.tags.get((Bucket, Key), {})
        return {"TagSet": [{"Key": name, "Value": value} for name, value in tags.items()]}

    def delete_object(self, Bucket: str, Key: str, IfMatch: str = "", VersionId: str = "") -> dict[str, Any]:
        if not VersionId:
            super().delete_object(Bucket, Key, IfMatch)
            self._new_version(Bucket, Key, None)
            return {}
        self._check()
        left = [one for one in self.versions.get((Bucket, Key), []) if one[0] != VersionId]
        self.versions[Bucket, Key] = left
        self.objects.pop((Bucket, Key), None)
        if left and left[-1][1] is not None:
            self.objects[Bucket, Key] = left[-1][1]
        return {}

    def get_paginator(self, operation: str) -> "FakeS3":
        assert operation in ("list_objects_v2", "list_object_versions")
        listed = copy(self)
        listed._listing = operation
        return listed

    def paginate(self, Bucket: str, Prefix: str, **_: Any) -> Iterator[dict[str, Any]]:
        if self._listing == "list_objects_v2":
            yield from super().paginate(Bucket, Prefix)
            return
        self._check()
        entries = [
            {
                "Key": key,
                "VersionId": version,
                "IsLatest": number == len(versions) - 1,
                "LastModified": self.stored_at[Bucket, key],
                "is_object": body is not None,
            }
            for (bucket, key), versions in sorted(self.versions.items())
            if bucket == Bucket and key.startswith(Prefix)
            for number, (version, body) in reversed(list(enumerate(versions)))
        ]
        for start in range(0, max(len(entries), 1), self.page_size):
            page: dict[str, list[Any]] = {}
            for entry in entries[start : start + self.page_size]:
                page.setdefault("Versions" if entry["is_object"] else "DeleteMarkers", []).append(entry)
            yield page


class FakeSession:
    """A boto3 session whose S3 client is a FakeS3, for libraries that create their own clients."""

    def __init__(self, s3: FakeS3) -> None:
        self.s3 = s3
        self.region_name = "us-east-1"

    def client(self, service_name: str, **_: Any) -> FakeS3:
        assert service_name == "s3"
        return self.s3


class FakeEndpoint:
    """A sagemaker-runtime client whose endpoint responds with `answer(request)`, or fails if that raises an error."""

    def __init__(self, answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        self.answer = answer
        self.questions: list[dict[str, Any]] = []
        self.asked: list[str] = []

    def invoke_endpoint(self, EndpointName: str, Body: bytes, **_: Any) -> dict[str, Any]:
        question = json.loads(Body)
        self.questions.append(question)
        self.asked.append(EndpointName)
        answer = json.dumps(self.answer(question)).encode()
        return {"Body": io.BytesIO(answer), "InvokedProductionVariant": "all-traffic"}


class FakeCloudWatch:
    """CloudWatch with sums of metrics, by name and the value of the dimension Release or EndpointName."""

    def __init__(self, sums: dict[tuple[str, str], float] | None = None) -> None:
        self.sums = sums or {}
        self.asked: list[dict[str, Any]] = []

    def get_metric_data(self, MetricDataQueries: list[dict[str, Any]], **times: Any) -> dict[str, Any]:
        self.asked.append(times)
        results = []
        for query in MetricDataQueries:
            metric = query["MetricStat"]["Metric"]
            dimensions = {one["Name"]: one["Value"] for one in metric["Dimensions"]}
            of = dimensions.get("Release") or dimensions["EndpointName"]
            found = self.sums.get((metric["MetricName"], of))
            # Two minutes, as CloudWatch returns one value per period.
            values = [] if found is None else [found / 2, found / 2]
            results.append({"Id": query["Id"], "Values": values})
        return {"MetricDataResults": results}


class FakeAutoscaling:
    """Application Auto Scaling with its scalable targets: the least and the most instances per resource."""

    def __init__(self) -> None:
        self.targets: dict[str, tuple[int, int]] = {}
        self.policies: dict[str, dict[str, Any]] = {}

    def register_scalable_target(self, ResourceId: str, MinCapacity: int, MaxCapacity: int, **_: Any) -> None:
        self.targets[ResourceId] = (MinCapacity, MaxCapacity)

    def put_scaling_policy(
        self, ResourceId: str, TargetTrackingScalingPolicyConfiguration: dict[str, Any], **_: Any
    ) -> None:
        assert ResourceId in self.targets
        self.policies[ResourceId] = TargetTrackingScalingPolicyConfiguration

    def deregister_scalable_target(self, ResourceId: str, **_: Any) -> None:
        if ResourceId not in self.targets:
            raise client_error("ObjectNotFoundException", "No scalable target registered")
        del self.targets[ResourceId]
        self.policies.pop(ResourceId, None)


class FakeSageMaker:
    """SageMaker with models, endpoint configurations and endpoints. As in SageMaker, changes take time: `finish` ends them."""

    def __init__(self) -> None:
        self.models: dict[str, dict[str, Any]] = {}
        self.configs: dict[str, dict[str, Any]] = {}
        self.endpoints: dict[str, dict[str, Any]] = {}

    def finish(self) -> None:
        """End all changes: delete endpoints that are being deleted, and bring the others into service."""
        for name, endpoint in list(self.endpoints.items()):
            if endpoint["EndpointStatus"] == "Deleting":
                del self.endpoints[name]
            else:
                pending = endpoint.pop("PendingDeploymentSummary", endpoint)
                endpoint.update(EndpointConfigName=pending["EndpointConfigName"], EndpointStatus="InService")

    @staticmethod
    def _find(of: dict[str, Any], name: str) -> Any:
        if name not in of:
            raise client_error("ValidationException", f'Could not find "{name}".')
        return of[name]

    def create_model(self, ModelName: str, **rest: Any) -> None:
        assert ModelName not in self.models
        self.models[ModelName] = rest

    def describe_model(self, ModelName: str) -> Any:
        return self._find(self.models, ModelName)

    def delete_model(self, ModelName: str) -> None:
        del self.models[ModelName]

    def create_endpoint_config(
        self, EndpointConfigName: str, ProductionVariants: list[dict[str, Any]]
    ) -> None:
        assert EndpointConfigName not in self.configs
        assert ProductionVariants[0]["ModelName"] in self.models
        self.configs[EndpointConfigName] = {"ProductionVariants": ProductionVariants}

    def describe_endpoint_config(self, EndpointConfigName: str) -> Any:
        return self._find(self.configs, EndpointConfigName)

    def delete_endpoint_config(self, EndpointConfigName: str) -> None:
        del self.configs[EndpointConfigName]

    def kind(self, config_name: str) -> str:
        """Return the kind of endpoint that a configuration describes."""
        variant = self.configs[config_name]["ProductionVariants"][0]
        return "serverless" if "ServerlessConfig" in variant else "realtime"

    def create_endpoint(self, EndpointName: str, EndpointConfigName: str) -> None:
        assert EndpointConfigName in self.configs
        if EndpointName in self.endpoints:
            raise client_error("ValidationException", "Cannot create already existing endpoint")
        self.endpoints[EndpointName] = {
            "EndpointConfigName": EndpointConfigName,
            "EndpointStatus": "Creating",
        }

    def update_endpoint(
        self, EndpointName: str, EndpointConfigName: str, RetainAllVariantProperties: bool = False
    ) -> None:
        endpoint = self.endpoints[EndpointName]
        if endpoint["EndpointStatus"] != "InService":
            raise client_error("ValidationException", "Cannot update in-progress endpoint")
        if self.kind(endpoint["EndpointConfigName"]) != self.kind(EndpointConfigName):
            raise client_error("ValidationException", "Cannot convert the kind of an endpoint")
        endpoint["EndpointStatus"] = "Updating"
        endpoint["PendingDeploymentSummary"] = {"EndpointConfigName": EndpointConfigName}

    def describe_endpoint(self, EndpointName: str) -> Any:
        return self._find(self.endpoints, EndpointName)

    def delete_endpoint(self, EndpointName: str) -> None:
        if self.endpoints[EndpointName]["EndpointStatus"] in ("Creating", "Updating", "Deleting"):
            raise client_error("ValidationException", "Cannot delete an endpoint in this status")
        self.endpoints[EndpointName]["EndpointStatus"] = "Deleting"

    def get_paginator(self, operation: str) -> Any:
        of, names, name = {
            "list_endpoint_configs": (self.configs, "EndpointConfigs", "EndpointConfigName"),
            "list_models": (self.models, "Models", "ModelName"),
        }[operation]

        class Pages:
            def paginate(self, NameContains: str) -> list[dict[str, Any]]:
                return [{names: [{name: key} for key in of if NameContains in key]}]

        return Pages()
