"""Defects of moto 5.2.5, without the patches of local/aws."""

from __future__ import annotations

import gzip
import io
import json
import time
import zipfile
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws
from moto.awslambda.models import lambda_backends
from moto.stepfunctions.parser.asl.component.state.exec.execute_state import ExecutionState

ROLE = "arn:aws:iam::123456789012:role/r"
TRAINING_JOB = {
    "TrainingJobName": "job",
    "RoleArn": ROLE,
    "AlgorithmSpecification": {"TrainingImage": "i", "TrainingInputMode": "File"},
    "OutputDataConfig": {"S3OutputPath": "s3://bucket/"},
    "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
    "StoppingCondition": {"MaxRuntimeInSeconds": 60},
}
SWAGGER: dict[str, Any] = {"swagger": "2.0", "info": {"title": "t", "version": "1"}, "paths": {}}


@pytest.fixture(autouse=True)
def moto(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        yield


def client(service: str) -> Any:
    return boto3.client(service, region_name="us-east-1")


def create_stack(resources: dict[str, Any]) -> None:
    client("cloudformation").create_stack(StackName="s", TemplateBody=json.dumps({"Resources": resources}))


def create_function(**settings: Any) -> None:
    client("iam").create_role(RoleName="r", AssumeRolePolicyDocument="{}")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("app.py", "def handler(event, context): pass")
    code = {"ZipFile": archive.getvalue()}
    client("lambda").create_function(
        FunctionName="f", Runtime="python3.11", Role=ROLE, Handler="app.handler", Code=code, **settings
    )


def test_apigateway_has_no_update_integration() -> None:
    apigateway = client("apigateway")
    api = apigateway.create_rest_api(name="api")["id"]
    root = apigateway.get_resources(restApiId=api)["items"][0]["id"]
    method = {"restApiId": api, "resourceId": root, "httpMethod": "GET"}
    apigateway.put_method(**method, authorizationType="NONE")
    apigateway.put_integration(**method, type="HTTP", integrationHttpMethod="GET", uri="https://example.org")
    with pytest.raises(NotImplementedError):
        apigateway.update_integration(**method, patchOperations=[])


def test_iam_has_no_simulate_principal_policy() -> None:
    user = client("iam").create_user(UserName="u")["User"]["Arn"]
    with pytest.raises(NotImplementedError):
        client("iam").simulate_principal_policy(PolicySourceArn=user, ActionNames=["s3:GetObject"])


def test_cloudformation_has_no_update_termination_protection() -> None:
    create_stack({"Topic": {"Type": "AWS::SNS::Topic"}})
    with pytest.raises(NotImplementedError):
        client("cloudformation").update_termination_protection(
            StackName="s", EnableTerminationProtection=True
        )


def test_apigateway_refuses_a_swagger_2_document() -> None:
    with pytest.raises(KeyError, match="description"):
        client("apigateway").import_rest_api(body=json.dumps(SWAGGER).encode())


def test_apigateway_ignores_the_minimum_compression_size_in_a_patch() -> None:
    apigateway = client("apigateway")
    api = apigateway.create_rest_api(name="a")["id"]
    operation = {"op": "replace", "path": "/minimumCompressionSize", "value": "100"}
    apigateway.update_rest_api(restApiId=api, patchOperations=[operation])
    assert apigateway.get_rest_api(restApiId=api).get("minimumCompressionSize") != 100


def test_apigateway_ignores_the_body_of_an_api_in_a_template() -> None:
    paths: dict[str, Any] = {"/a": {"get": {"responses": {}}}}
    body = {"openapi": "3.0.1", "info": {"title": "t", "version": "1", "description": ""}, "paths": paths}
    create_stack({"A": {"Type": "AWS::ApiGateway::RestApi", "Properties": {"Name": "a", "Body": body}}})
    apigateway = client("apigateway")
    [api] = apigateway.get_rest_apis()["items"]
    found = apigateway.get_resources(restApiId=api["id"])["items"]
    assert "/a" not in [resource["path"] for resource in found]


def test_lambda_drops_the_dead_letter_config() -> None:
    create_function(DeadLetterConfig={"TargetArn": "arn:aws:sqs:us-east-1:123456789012:q"})
    assert "DeadLetterConfig" not in client("lambda").get_function_configuration(FunctionName="f")


def test_lambda_drops_the_tracing_config_of_an_update() -> None:
    create_function()
    lambda_ = client("lambda")
    lambda_.update_function_configuration(FunctionName="f", TracingConfig={"Mode": "Active"})
    assert lambda_.get_function_configuration(FunctionName="f")["TracingConfig"]["Mode"] != "Active"


def test_cloudformation_skips_secrets() -> None:
    create_stack(
        {
            "S": {
                "Type": "AWS::SecretsManager::Secret",
                "Properties": {"Name": "s", "GenerateSecretString": {}},
            }
        }
    )
    assert client("secretsmanager").list_secrets()["SecretList"] == []


def test_cloudformation_keeps_the_first_trust_policy_of_a_role() -> None:
    def role(account: str) -> dict[str, Any]:
        trusted = {"Effect": "Allow", "Principal": {"AWS": account}, "Action": "sts:AssumeRole"}
        document = {"Version": "2012-10-17", "Statement": [trusted]}
        return {
            "R": {
                "Type": "AWS::IAM::Role",
                "Properties": {"RoleName": "r", "AssumeRolePolicyDocument": document},
            }
        }

    create_stack(role("123456789012"))
    template = json.dumps({"Resources": role("999999999999")})
    client("cloudformation").update_stack(StackName="s", TemplateBody=template)
    found = client("iam").get_role(RoleName="r")["Role"]["AssumeRolePolicyDocument"]
    assert found["Statement"][0]["Principal"] == {"AWS": "123456789012"}


def test_cloudformation_forgets_the_parameters_of_a_change_set() -> None:
    template = {
        "Parameters": {"P": {"Type": "String"}},
        "Resources": {"T": {"Type": "AWS::SNS::Topic", "Properties": {"DisplayName": {"Ref": "P"}}}},
    }

    def change_set(kind: str, value: str) -> str:
        cloudformation = client("cloudformation")
        made = cloudformation.create_change_set(
            StackName="s",
            ChangeSetName=f"c-{kind}-{value}",
            ChangeSetType=kind,
            TemplateBody=json.dumps(template),
            Parameters=[{"ParameterKey": "P", "ParameterValue": value}],
        )
        status: str = cloudformation.describe_change_set(ChangeSetName=made["Id"])["Status"]
        if status != "FAILED":
            cloudformation.execute_change_set(ChangeSetName=made["Id"])
        return status

    change_set("CREATE", "first")
    change_set("UPDATE", "second")
    assert change_set("UPDATE", "first") == "FAILED"  # "didn't contain changes"


def test_cloudformation_skips_delivery_streams() -> None:
    destination = {"RoleARN": ROLE, "BucketARN": "arn:aws:s3:::bucket"}
    properties = {"DeliveryStreamName": "d", "ExtendedS3DestinationConfiguration": destination}
    create_stack({"D": {"Type": "AWS::KinesisFirehose::DeliveryStream", "Properties": properties}})
    assert client("firehose").list_delivery_streams()["DeliveryStreamNames"] == []


def test_cloudformation_skips_log_streams() -> None:
    properties = {"LogGroupName": "g", "LogStreamName": "s"}
    client("logs").create_log_group(logGroupName="g")
    create_stack({"S": {"Type": "AWS::Logs::LogStream", "Properties": properties}})
    assert client("logs").describe_log_streams(logGroupName="g")["logStreams"] == []


def test_cloudformation_ignores_eventbridge_notifications_of_a_bucket() -> None:
    enabled = {"EventBridgeConfiguration": {"EventBridgeEnabled": True}}
    properties = {"BucketName": "bucket", "NotificationConfiguration": enabled}
    create_stack({"B": {"Type": "AWS::S3::Bucket", "Properties": properties}})
    found = client("s3").get_bucket_notification_configuration(Bucket="bucket")
    assert "EventBridgeConfiguration" not in found


def test_cloudformation_ignores_definition_substitutions() -> None:
    definition = json.dumps({"StartAt": "${Name}", "States": {}})
    properties = {"RoleArn": ROLE, "DefinitionString": definition, "DefinitionSubstitutions": {"Name": "P"}}
    create_stack({"M": {"Type": "AWS::StepFunctions::StateMachine", "Properties": properties}})
    states = client("stepfunctions")
    [machine] = states.list_state_machines()["stateMachines"]
    described = states.describe_state_machine(stateMachineArn=machine["stateMachineArn"])
    assert "${Name}" in described["definition"]


def test_cloudformation_keeps_a_repository_with_images_despite_empty_on_delete() -> None:
    create_stack(
        {
            "R": {
                "Type": "AWS::ECR::Repository",
                "Properties": {"RepositoryName": "repository", "EmptyOnDelete": True},
            }
        }
    )
    manifest = {"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json"}
    client("ecr").put_image(
        repositoryName="repository", imageManifest=json.dumps({**manifest, "layers": []}), imageTag="1"
    )
    with pytest.raises(ClientError, match="RepositoryNotEmpty"):
        client("cloudformation").delete_stack(StackName="s")


def test_events_cannot_deliver_to_a_state_machine() -> None:
    events = client("events")
    events.put_rule(Name="r", EventPattern='{"source": ["s"]}')
    target = {"Id": "t", "Arn": "arn:aws:states:us-east-1:123456789012:stateMachine:m", "RoleArn": ROLE}
    events.put_targets(Rule="r", Targets=[target])
    with pytest.raises(NotImplementedError):
        events.put_events(Entries=[{"Source": "s", "DetailType": "t", "Detail": "{}"}])


def test_firehose_does_not_buffer() -> None:
    client("s3").create_bucket(Bucket="bucket")
    firehose = client("firehose")
    destination = {"RoleARN": ROLE, "BucketARN": "arn:aws:s3:::bucket", "CompressionFormat": "GZIP"}
    firehose.create_delivery_stream(DeliveryStreamName="d", ExtendedS3DestinationConfiguration=destination)
    for _ in range(2):
        firehose.put_record(DeliveryStreamName="d", Record={"Data": b"x"})
    found = client("s3").list_objects_v2(Bucket="bucket")["Contents"]
    assert len(found) == 2
    body = client("s3").get_object(Bucket="bucket", Key=found[0]["Key"])["Body"].read()
    with pytest.raises(gzip.BadGzipFile):
        gzip.decompress(body)


def test_sagemaker_completes_a_training_job_at_once() -> None:
    sagemaker = client("sagemaker")
    sagemaker.create_training_job(**TRAINING_JOB, Environment={"NAME": "value"})
    described = sagemaker.describe_training_job(TrainingJobName="job")
    assert described["TrainingJobStatus"] == "Completed"
    assert "Environment" not in described


def test_sagemaker_overwrites_an_existing_model() -> None:
    for _ in range(2):
        client("sagemaker").create_model(
            ModelName="m", ExecutionRoleArn=ROLE, PrimaryContainer={"Image": "i"}
        )


def test_sagemaker_has_no_update_endpoint() -> None:
    with pytest.raises(NotImplementedError):
        client("sagemaker").update_endpoint(EndpointName="e", EndpointConfigName="c")


def execute(definition: dict[str, Any], name: str | None, given: Any) -> dict[str, Any]:
    named = {"name": name} if name else {}
    with mock_aws(config={"stepfunctions": {"execute_state_machine": True}}):
        states = client("stepfunctions")
        machine = states.create_state_machine(name="m", definition=json.dumps(definition), roleArn=ROLE)
        execution = states.start_execution(
            stateMachineArn=machine["stateMachineArn"], input=json.dumps(given), **named
        )
        while True:
            described: dict[str, Any] = states.describe_execution(executionArn=execution["executionArn"])
            if described["status"] != "RUNNING":
                return described
            time.sleep(0.02)


def test_stepfunctions_has_no_redrive() -> None:
    execution = "arn:aws:states:us-east-1:123456789012:execution:m:e"
    with pytest.raises(NotImplementedError):
        client("stepfunctions").redrive_execution(executionArn=execution)


def test_stepfunctions_accepts_an_invalid_execution_name() -> None:
    execution = execute({"StartAt": "P", "States": {"P": {"Type": "Pass", "End": True}}}, "with space", {})
    assert execution["name"] == "with space"


def test_stepfunctions_returns_a_list_for_a_definite_path() -> None:
    state = {"Type": "Pass", "Parameters": {"v.$": "$.a[0].b"}, "End": True}
    execution = execute({"StartAt": "P", "States": {"P": state}}, "e", {"a": [{"b": 1}]})
    assert json.loads(execution["output"]) == {"v": [1]}


def test_stepfunctions_does_not_wait_for_sagemaker_jobs() -> None:
    resource = "arn:aws:states:::sagemaker:createTrainingJob.sync"
    state = {"Type": "Task", "Resource": resource, "Parameters": TRAINING_JOB, "End": True}
    execution = execute({"StartAt": "T", "States": {"T": state}}, "e", {})
    assert "TrainingJobStatus" not in json.loads(execution.get("output", "{}"))


def test_stepfunctions_names_an_execution_none() -> None:
    execution = execute({"StartAt": "P", "States": {"P": {"Type": "Pass", "End": True}}}, None, {})
    assert execution["executionArn"].endswith(":None")


def test_stepfunctions_gives_an_empty_cause_for_none() -> None:
    timeout = SimpleNamespace(event_details={"taskTimedOutEventDetails": {"error": "States.Timeout"}})
    assert ExecutionState._construct_error_output_value(timeout)["Cause"] == ""


def test_xray_drops_a_segment_in_progress() -> None:
    segment = {"name": "s", "id": "0" * 16, "trace_id": "1-00000000-" + "0" * 24, "start_time": time.time()}
    document = json.dumps({**segment, "in_progress": True})
    xray = client("xray")
    xray.put_trace_segments(TraceSegmentDocuments=[document])
    now = time.time()
    assert xray.get_trace_summaries(StartTime=now - 60, EndTime=now + 60)["TraceSummaries"] == []


def test_lambda_keeps_a_zip_twice_in_memory() -> None:
    create_function()
    [function] = lambda_backends["123456789012"]["us-east-1"].list_functions()
    assert isinstance(function.code_bytes, bytes)
    assert function.code["ZipFile"]


def test_cloudformation_does_not_import_an_existing_bucket() -> None:
    client("s3").create_bucket(Bucket="bucket")
    template = {"Resources": {"B": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": "bucket"}}}}
    cloudformation = client("cloudformation")
    cloudformation.create_change_set(
        StackName="s",
        ChangeSetName="changes",
        ChangeSetType="CREATE",
        ImportExistingResources=True,
        TemplateBody=json.dumps(template),
    )
    with pytest.raises(ClientError, match="BucketAlreadyExists"):
        cloudformation.execute_change_set(StackName="s", ChangeSetName="changes")


def test_sagemaker_accepts_an_invalid_job_name() -> None:
    client("sagemaker").create_training_job(
        TrainingJobName="with_underscore",
        AlgorithmSpecification={"TrainingInputMode": "File", "TrainingImage": "i"},
        RoleArn=ROLE,
        OutputDataConfig={"S3OutputPath": "s3://bucket"},
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        StoppingCondition={"MaxRuntimeInSeconds": 60},
    )


def test_codebuild_reports_success_without_a_source() -> None:
    codebuild = client("codebuild")
    codebuild.create_project(
        name="project",
        source={"type": "S3", "location": "nowhere/source.zip"},
        artifacts={"type": "NO_ARTIFACTS"},
        environment={"type": "LINUX_CONTAINER", "image": "i", "computeType": "BUILD_GENERAL1_SMALL"},
        serviceRole=ROLE,
    )
    build = codebuild.start_build(projectName="project")["build"]
    [found] = codebuild.batch_get_builds(ids=[build["id"]])["builds"]
    assert found["buildStatus"] == "SUCCEEDED"


def test_events_match_a_rule_that_has_only_a_schedule() -> None:
    queue = client("sqs").create_queue(QueueName="q")["QueueUrl"]
    events = client("events")
    events.put_rule(Name="r", ScheduleExpression="rate(1 day)")
    events.put_targets(Rule="r", Targets=[{"Id": "t", "Arn": "arn:aws:sqs:us-east-1:123456789012:q"}])
    events.put_events(Entries=[{"Source": "s", "DetailType": "t", "Detail": "{}"}])
    assert client("sqs").receive_message(QueueUrl=queue).get("Messages")


def test_s3_refuses_a_capitalized_filter_rule() -> None:
    client("s3").create_bucket(Bucket="bucket")
    create_function()
    rule = {"Key": {"FilterRules": [{"Name": "Prefix", "Value": "raw/"}]}}
    function = {"LambdaFunctionArn": "arn:aws:lambda:us-east-1:123456789012:function:f", "Filter": rule}
    configuration = {"LambdaFunctionConfigurations": [{**function, "Events": ["s3:ObjectCreated:*"]}]}
    with pytest.raises(AssertionError):
        client("s3").put_bucket_notification_configuration(
            Bucket="bucket", NotificationConfiguration=configuration
        )


def _alarm(**changes: Any) -> None:
    settings: dict[str, Any] = {
        "AlarmName": "a",
        "Namespace": "Own",
        "MetricName": "M",
        "Statistic": "Sum",
        "Period": 60,
        "EvaluationPeriods": 1,
        "Threshold": 1,
        "ComparisonOperator": "GreaterThanThreshold",
    }
    client("cloudwatch").put_metric_alarm(**{**settings, **changes})


def test_cloudwatch_evaluates_no_alarm() -> None:
    cloudwatch = client("cloudwatch")
    topic = client("sns").create_topic(Name="t")["TopicArn"]
    queue = client("sqs").create_queue(QueueName="q")["QueueUrl"]
    client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint="arn:aws:sqs:us-east-1:123456789012:q")
    _alarm(AlarmActions=[topic])
    cloudwatch.put_metric_data(Namespace="Own", MetricData=[{"MetricName": "M", "Value": 9}])
    assert cloudwatch.describe_alarms()["MetricAlarms"][0]["StateValue"] == "OK"
    cloudwatch.set_alarm_state(AlarmName="a", StateValue="ALARM", StateReason="set")
    assert "Messages" not in client("sqs").receive_message(QueueUrl=queue)


def test_cloudwatch_adds_up_metrics_with_more_dimensions() -> None:
    cloudwatch = client("cloudwatch")
    stage, reason = {"Name": "Stage", "Value": "s"}, {"Name": "Reason", "Value": "r"}
    for dimensions in ([stage], [stage, reason]):
        datum = {"MetricName": "M", "Value": 1, "Dimensions": dimensions}
        cloudwatch.put_metric_data(Namespace="Own", MetricData=[datum])
    now = time.time()
    found = cloudwatch.get_metric_statistics(
        Namespace="Own",
        MetricName="M",
        Dimensions=[stage],
        StartTime=now - 60,
        EndTime=now + 60,
        Period=60,
        Statistics=["Sum"],
    )
    assert sum(point["Sum"] for point in found["Datapoints"]) == 2


def test_cloudwatch_has_no_history_of_alarms() -> None:
    with pytest.raises(NotImplementedError):
        client("cloudwatch").describe_alarm_history()
    create_stack({"A": {"Type": "AWS::CloudWatch::Alarm", "Properties": {"AlarmName": "a"}}})
    assert client("cloudwatch").describe_alarms()["MetricAlarms"] == []


def test_cloudwatch_accepts_values_in_the_namespaces_of_aws() -> None:
    client("cloudwatch").put_metric_data(
        Namespace="AWS/Lambda", MetricData=[{"MetricName": "Errors", "Value": 1}]
    )
