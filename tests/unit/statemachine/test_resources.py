"""The structure of the CloudFormation template: rules for every resource of a kind."""

import json
import re
from dataclasses import replace
from fnmatch import fnmatch, fnmatchcase
from pathlib import Path
from typing import Any

import pytest

import contracts
from deploy import lambdas, template
from deploy.drill.drills import DRILLS
from deploy.lambdas import named
from deploy.stages import read_stage
from deploy.template import stack_parameters
from functions.canary.figures import SUMS
from functions.compact.compact import PACKED_TAG
from functions.platform.contract import PACKED_PREFIX, RAW_PREFIX
from functions.platform.shop_names import short_name
from functions.rollback.rollback import BUSY_POLL_S, LAST_TRY_S
from functions.validate.thresholds import thresholds

TEMPLATE = template.load_resources()
RESOURCES: dict[str, dict[str, Any]] = TEMPLATE["Resources"]
DEV, ACCOUNT = read_stage("dev"), "210987654321"

# Actions that IAM cannot limit to a resource, according to the Service Authorization Reference.
WITHOUT_RESOURCES = {
    "cloudwatch:PutMetricData",
    "ecr:GetAuthorizationToken",
    "logs:CreateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:DescribeLogGroups",
    "logs:DescribeResourcePolicies",
    "logs:GetLogDelivery",
    "logs:ListLogDeliveries",
    "logs:PutResourcePolicy",
    "logs:UpdateLogDelivery",
    "sagemaker:ListTags",
    "xray:GetSamplingRules",
    "xray:GetSamplingTargets",
    "xray:PutTelemetryRecords",
    "xray:PutTraceSegments",
}


def of_type(kind: str) -> list[tuple[str, dict[str, Any]]]:
    return [
        (name, resource["Properties"]) for name, resource in RESOURCES.items() if resource["Type"] == kind
    ]


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def role_statements() -> list[tuple[str, dict[str, Any]]]:
    return [
        (role, statement)
        for role, properties in of_type("AWS::IAM::Role")
        for policy in properties["Policies"]
        for statement in policy["PolicyDocument"]["Statement"]
    ]


@pytest.mark.parametrize(("name", "bucket"), of_type("AWS::S3::Bucket"))
def test_every_bucket_is_encrypted_versioned_private_and_outlives_the_stack(name: str, bucket: Any) -> None:
    assert bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    assert all(bucket["PublicAccessBlockConfiguration"].values())
    assert len(bucket["PublicAccessBlockConfiguration"]) == 4
    assert bucket["NotificationConfiguration"]["EventBridgeConfiguration"] == {"EventBridgeEnabled": True}
    assert RESOURCES[name]["DeletionPolicy"] == RESOURCES[name]["UpdateReplacePolicy"] == "Retain"


def test_every_bucket_refuses_requests_without_tls() -> None:
    policies = {
        properties["Bucket"]["Ref"]: properties["PolicyDocument"]["Statement"]
        for _, properties in of_type("AWS::S3::BucketPolicy")
    }
    for name, _ in of_type("AWS::S3::Bucket"):
        (deny,) = policies[name]
        assert deny["Effect"] == "Deny"
        assert deny["Principal"] == "*"
        assert deny["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        assert len(deny["Resource"]) == 2


def test_raw_events_never_expire() -> None:
    rules = RESOURCES["EventsBucket"]["Properties"]["LifecycleConfiguration"]["Rules"]
    deleting = [rule for rule in rules if {"ExpirationInDays", "NoncurrentVersionExpiration"} & rule.keys()]
    assert [rule["Prefix"] for rule in deleting] == ["rejected/", "rejected-catalogue/", "catalogue-claims/"]
    assert all(rule.get("Prefix") for rule in deleting)


@pytest.mark.parametrize(("name", "stream"), of_type("AWS::KinesisFirehose::DeliveryStream"))
def test_every_stream_compresses_logs_and_keeps_keys_without_hive_folders(name: str, stream: Any) -> None:
    destination = stream["ExtendedS3DestinationConfiguration"]
    assert destination["CompressionFormat"] == "GZIP"
    assert destination["CloudWatchLoggingOptions"]["Enabled"]
    assert destination["Prefix"].endswith("/!{timestamp:yyyy/MM/dd/HH}/")
    assert "=" not in destination["Prefix"]
    assert destination["ErrorOutputPrefix"].startswith("errors/")
    assert destination["BufferingHints"] == {
        "IntervalInSeconds": {"Ref": "EventsBufferSeconds"},
        "SizeInMBs": {"Ref": "EventsBufferMegabytes"},
    }


def test_streams_write_where_the_contract_says() -> None:
    prefixes = {
        stream["ExtendedS3DestinationConfiguration"]["Prefix"].split("/")[0]
        for _, stream in of_type("AWS::KinesisFirehose::DeliveryStream")
    }
    assert prefixes == {"raw", "rejected"}


@pytest.mark.parametrize(("role", "statement"), role_statements())
def test_no_role_may_do_everything_of_a_service(role: str, statement: Any) -> None:
    assert statement["Effect"] == "Allow"
    assert not [action for action in listed(statement["Action"]) if "*" in action]


@pytest.mark.parametrize(("role", "statement"), role_statements())
def test_only_actions_without_resources_are_allowed_on_all_resources(role: str, statement: Any) -> None:
    if "*" in listed(statement["Resource"]):
        assert set(listed(statement["Action"])) <= WITHOUT_RESOURCES


@pytest.mark.parametrize(("role", "statement"), role_statements())
def test_roles_are_passed_to_one_service_only(role: str, statement: Any) -> None:
    if "iam:PassRole" in listed(statement["Action"]):
        assert statement["Resource"] == {"Fn::GetAtt": ["SageMakerRole", "Arn"]}
        assert statement["Condition"] == {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}


@pytest.mark.parametrize(("name", "role"), of_type("AWS::IAM::Role"))
def test_every_role_is_assumed_for_this_account_only(name: str, role: Any) -> None:
    (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
    conditions = trust["Condition"]["StringEquals"]
    assert conditions.keys() & {"aws:SourceAccount", "sts:ExternalId"}


@pytest.mark.parametrize(("name", "group"), of_type("AWS::Logs::LogGroup"))
def test_every_log_group_has_a_retention(name: str, group: Any) -> None:
    assert group["RetentionInDays"] == {"Ref": "LogRetentionDays"}


def test_every_lambda_has_its_log_group() -> None:
    names = {group["LogGroupName"]["Fn::Sub"] for _, group in of_type("AWS::Logs::LogGroup")}
    for function in lambdas.LAMBDAS:
        deployed = function.deployed_name(read_stage("local"))
        assert f"/aws/lambda/{deployed.replace('local', '${Stage}')}" in names


@pytest.mark.parametrize(("name", "alarm"), of_type("AWS::CloudWatch::Alarm"))
def test_every_alarm_notifies_somebody_and_describes_what_to_do(name: str, alarm: Any) -> None:
    assert alarm["AlarmActions"] == [{"Ref": "Notifications"}]
    assert len(alarm["AlarmDescription"]["Fn::Sub"].split(". ")) >= 2
    # An alarm may keep its state only where its figure comes rarely, and from Tugboat itself.
    assert alarm["TreatMissingData"] in ("breaching", "notBreaching") or alarm["Namespace"] == "Tugboat"


def test_a_shop_that_sends_nothing_is_an_alarm_although_it_has_no_data() -> None:
    assert RESOURCES["NoEvents"]["Properties"]["TreatMissingData"] == "breaching"


def test_the_dashboard_is_json_and_shows_every_alarm() -> None:
    of_shops = replace(DEV, shops={"demo": ["key-of-demo"], "second": ["key-of-second"]})
    for stage in (DEV, of_shops, replace(of_shops, model_max_age_hours=48)):
        resources = json.loads(template.render(stage, ACCOUNT))["Resources"]
        body, values = resources["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
        for name, text in values.items():
            body = body.replace(f"${{{name}}}", text)
        widgets = json.loads(body.replace("${Stage}", stage.name))["widgets"]
        shown = next(widget["properties"]["alarms"] for widget in widgets if widget["type"] == "alarm")
        names = {
            alarm["Properties"]["AlarmName"]["Fn::Sub"].replace("${Stage}", stage.name)
            for alarm in resources.values()
            if alarm["Type"] == "AWS::CloudWatch::Alarm"
            and (stage.model_max_age_hours or "Condition" not in alarm)
        }
        assert {arn.rpartition(":alarm:")[2] for arn in shown} == names


def test_each_of_several_shops_has_its_alarms_and_the_logs_of_its_endpoints() -> None:
    stage = replace(DEV, shops={"demo": ["key-of-demo"], "Shop.2": ["key-of-second"]})
    resources = json.loads(template.render(stage, ACCOUNT))["Resources"]
    alarms = {
        one["Properties"]["AlarmName"]["Fn::Sub"]: one["Properties"]
        for one in resources.values()
        if one["Type"] == "AWS::CloudWatch::Alarm"
    }
    for shop in stage.shops:
        end = short_name(shop)
        for name in ("fallbacks", "empty-answers", "model-old", "endpoint-5xx", "endpoint-slow"):
            assert f"tugboat-${{Stage}}-{name}-{end}" in alarms
            assert f"tugboat-${{Stage}}-{name}" not in alarms
        slow = json.dumps(alarms[f"tugboat-${{Stage}}-endpoint-slow-{end}"])
        assert f'"Value": "tugboat-dev-{end}"' in slow
        fallbacks = json.dumps(alarms[f"tugboat-${{Stage}}-fallbacks-{end}"])
        assert f'{{"Name": "Shop", "Value": "{shop}"}}' in fallbacks
        assert f"Shop {shop}: " in fallbacks
        logs = [one["Properties"].get("LogGroupName") for one in resources.values() if "Properties" in one]
        endpoints = [
            f"tugboat-dev-{end}{more}" for more in ("", "-realtime", "-candidate", "-realtime-candidate")
        ]
        assert {f"/aws/sagemaker/Endpoints/{one}" for one in endpoints} <= {
            one for one in logs if isinstance(one, str)
        }


def test_the_schedule_starts_the_pipeline_for_one_shop_and_the_night_for_several() -> None:
    several = replace(DEV, shops={"demo": ["key-of-demo"], "second": ["key-of-second"]})
    for stage, machine in ((DEV, "pipeline"), (several, "night")):
        assert template.stack_parameters(stage, ACCOUNT, "digest")["NightlyMachine"] == machine
    (target,) = template.load_resources()["Resources"]["NightlyRule"]["Properties"]["Targets"]
    assert json.loads(target["Input"]) == {"wait": True}
    night = json.loads(template.render(several, ACCOUNT))["Resources"]["Night"]["Properties"]
    definition = json.loads(night["DefinitionString"])
    assert definition["States"]["Prepare"]["Assign"]["trained_shops"] == ["demo", "second"]
    assert definition["States"]["Shops"]["MaxConcurrency"] == several.shops_at_once


def test_a_batch_follows_the_runs_of_a_stage_with_batch_nightly_and_the_pipeline_may_start_it() -> None:
    for nightly in (True, False):
        given = template.stack_parameters(replace(DEV, batch_nightly=nightly), ACCOUNT, "digest")
        assert given["BatchNightly"] == str(nightly).lower()
    filled_in = RESOURCES["Pipeline"]["Properties"]["DefinitionSubstitutions"]
    assert filled_in["BatchNightly"] == {"Ref": "BatchNightly"}
    machine = filled_in["BatchMachine"]["Fn::Sub"]
    assert machine.endswith(f":{RESOURCES['BatchMachine']['Properties']['StateMachineName']['Fn::Sub']}")
    assert allowed("PipelineRole", "states:StartExecution") == [{"Fn::Sub": machine}]


def test_a_shop_has_its_own_hyperparameters_and_bounds_of_the_gate() -> None:
    stage = replace(
        DEV,
        hyperparameters={"demo": {"epochs": 8}},
        gate={"demo": {"margin.hr_at_20": 0.02, "minimum_cases": 50}},
    )
    pipeline = json.loads(template.render(stage, ACCOUNT))["Resources"]["Pipeline"]["Properties"]
    settings = json.loads(pipeline["DefinitionString"])["States"]["Prepare"]["Assign"]["shop_settings"]
    bounds = ["--bound", "margin.hr_at_20=0.02", "--bound", "minimum_cases=50"]
    assert settings == {"demo": {"hyperparameters": {"epochs": "8"}, "bounds": bounds}}


def allowed(role: str, action: str) -> list[Any]:
    """Return the resources on which a role may do something."""
    return [
        resource
        for name, statement in role_statements()
        if name == role and action in listed(statement["Action"])
        for resource in listed(statement["Resource"])
    ]


def test_images_cannot_be_replaced_are_scanned_and_are_deleted_with_the_stack() -> None:
    ((_, repository),) = of_type("AWS::ECR::Repository")
    assert repository["ImageTagMutability"] == "IMMUTABLE"
    assert repository["ImageScanningConfiguration"] == {"ScanOnPush": True}
    assert repository["EmptyOnDelete"] is True
    (rule,) = json.loads(repository["LifecyclePolicy"]["LifecyclePolicyText"])["rules"]
    assert rule["selection"]["countType"] == "imageCountMoreThan"
    assert rule["action"] == {"type": "expire"}


def test_the_image_is_built_with_docker_from_the_uploaded_source_and_pushed_to_its_repository_only() -> None:
    ((_, project),) = of_type("AWS::CodeBuild::Project")
    assert project["Source"] == {"Type": "S3", "Location": {"Ref": "ServingImageSource"}}
    assert project["Environment"]["PrivilegedMode"] is True
    assert project["Environment"]["EnvironmentVariables"] == [
        {"Name": "IMAGE", "Value": {"Ref": "ServingImage"}}
    ]
    assert allowed("ServingImageBuildRole", "ecr:PutImage") == [{"Fn::GetAtt": ["ServingImages", "Arn"]}]
    (source,) = allowed("ServingImageBuildRole", "s3:GetObject")
    bucket, _, key = stack_parameters(read_stage("dev"), "210987654321", "0")["ServingImageSource"].partition(
        "/"
    )
    assert bucket == read_stage("dev").models_bucket("210987654321")
    assert fnmatch(f"ModelsBucket/{key}", source["Fn::Sub"].replace("${ModelsBucket.Arn}", "ModelsBucket"))


def test_sagemaker_may_pull_the_image_and_not_push_it() -> None:
    for action in ("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"):
        assert {"Fn::GetAtt": ["ServingImages", "Arn"]} in allowed("SageMakerRole", action)
    assert allowed("SageMakerRole", "ecr:GetAuthorizationToken") == ["*"]
    assert allowed("SageMakerRole", "ecr:PutImage") == []


def test_the_state_machine_is_traced_and_logged() -> None:
    machine = RESOURCES["Pipeline"]["Properties"]
    assert machine["TracingConfiguration"] == {"Enabled": {"Fn::If": ["Traced", True, False]}}
    assert machine["LoggingConfiguration"]["Level"] == "ALL"


def test_the_definition_gets_a_value_for_each_placeholder_and_no_other() -> None:
    for machine, definition in template.DEFINITIONS.items():
        wanted = template.substitution_keys(definition.read_text())
        assert RESOURCES[machine]["Properties"]["DefinitionSubstitutions"].keys() == wanted


@pytest.mark.parametrize("machine", sorted(template.DEFINITIONS))
def test_the_state_machine_may_invoke_exactly_the_lambdas_of_its_definition(machine: str) -> None:
    wanted = {
        re.sub(r"Function$", "", key).lower()
        for key in template.substitution_keys(template.DEFINITIONS[machine].read_text())
        if key.endswith("Function")
    }
    (allowed,) = (
        statement["Resource"]
        for role, statement in role_statements()
        if role == f"{machine}Role" and "lambda:InvokeFunction" in listed(statement["Action"])
    )
    named = {arn["Fn::Sub"].rpartition("-")[2] for arn in listed(allowed)}
    assert named == wanted, (
        f"the definition invokes {sorted(wanted)}, {machine}Role may invoke {sorted(named)}: "
        f"change the statement Lambdas of {machine}Role in resources.yaml"
    )


@pytest.mark.parametrize("rule", ["NightlyRule", "LoadOnArrival", "CatalogueRule", "CompactRule", "RunEnded"])
def test_a_message_that_a_rule_cannot_deliver_goes_to_the_dead_letters(rule: str) -> None:
    (target,) = RESOURCES[rule]["Properties"]["Targets"]
    assert target["DeadLetterConfig"] == {"Arn": {"Fn::GetAtt": ["DeadLetters", "Arn"]}}
    (allowed,) = RESOURCES["DeadLettersPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    name = RESOURCES[rule]["Properties"]["Name"]["Fn::Sub"]
    assert target["RetryPolicy"]["MaximumRetryAttempts"] > 0
    sources = [one["Fn::Sub"] for one in allowed["Condition"]["ArnEquals"]["aws:SourceArn"]]
    assert any(fnmatchcase(name, source.rpartition(":rule/")[2]) for source in sources)


def test_a_run_that_does_not_succeed_is_undone_after_its_last_step() -> None:
    rule = RESOURCES["RunEnded"]["Properties"]
    assert set(rule["EventPattern"]["detail"]["status"]) == {"ABORTED", "FAILED", "TIMED_OUT"}
    (target,) = rule["Targets"]
    longest_s = max(named(step).timeout_s for step in ("publish", "prove"))
    assert f'"step_timeout_s": {longest_s}' in target["InputTransformer"]["InputTemplate"]
    assert longest_s + BUSY_POLL_S + LAST_TRY_S < named("rollback").timeout_s


def test_files_are_loaded_on_arrival_only_in_stages_that_ask_for_it() -> None:
    rule = RESOURCES["LoadOnArrival"]["Properties"]
    assert rule["State"] == {"Ref": "LoadOnArrivalState"}
    assert rule["EventPattern"]["detail"]["object"] == {"key": [{"prefix": RAW_PREFIX}]}


def test_deploy_gives_every_parameter_a_value_and_no_other() -> None:
    given = stack_parameters(read_stage("dev"), "210987654321", "0" * 64).keys()
    assert given == TEMPLATE["Parameters"].keys()


def test_the_rendered_definition_is_the_file_without_its_comments() -> None:
    definition = json.loads(
        json.loads(template.render(DEV, ACCOUNT))["Resources"]["Pipeline"]["Properties"]["DefinitionString"]
    )
    states = json.loads(template.PIPELINE_FILE.read_text())["States"]
    assert definition["States"].keys() == states.keys()
    assert '"Comment"' not in json.dumps(definition)


@pytest.mark.parametrize("body", [template.render, template.render_without_pipeline])
def test_resources_that_outlive_their_stack_have_literal_names(body: Any) -> None:
    # CloudFormation imports an existing resource only if its name is a literal.
    resources = json.loads(body(DEV, ACCOUNT))["Resources"].values()
    retained = [one for one in resources if one.get("DeletionPolicy") == "Retain"]
    names = {one["Properties"][template.NAME_PROPERTIES[one["Type"]]] for one in retained}
    assert names == {DEV.events_bucket(ACCOUNT), DEV.models_bucket(ACCOUNT)}


def test_a_retained_resource_of_a_new_type_is_refused_until_its_name_is_known(tmp_path: Any) -> None:
    resources = tmp_path / "resources.yaml"
    text = template.RESOURCES_FILE.read_text()
    resources.write_text(
        text.replace("    Type: AWS::SQS::Queue\n", "    Type: AWS::SQS::Queue\n    DeletionPolicy: Retain\n")
    )
    with pytest.raises(template.TemplateError, match="add AWS::SQS::Queue to NAME_PROPERTIES"):
        template.render(DEV, ACCOUNT, resources=resources)


def test_a_retained_resource_whose_name_only_cloudformation_knows_is_refused(tmp_path: Any) -> None:
    resources = tmp_path / "resources.yaml"
    text = template.RESOURCES_FILE.read_text()
    resources.write_text(
        text.replace("BucketName: !Sub tugboat-${Stage}", "BucketName: !Sub ${AWS::StackName}")
    )
    with pytest.raises(template.TemplateError, match=r"EventsBucket is unknown.*AWS::StackName"):
        template.render(DEV, ACCOUNT, resources=resources)


ALARMS = {
    properties["AlarmName"]["Fn::Sub"].removeprefix("tugboat-${Stage}-"): properties
    for _, properties in of_type("AWS::CloudWatch::Alarm")
}
# A word that a shell can run.
COMMAND = re.compile(r"\b(make [a-z]+ |aws [a-z0-9]+ )")


def metrics_of(alarm: dict[str, Any]) -> list[dict[str, Any]]:
    queries = [one["MetricStat"]["Metric"] for one in alarm.get("Metrics", []) if "MetricStat" in one]
    return queries or [alarm]


@pytest.mark.parametrize("name", sorted(ALARMS))
def test_the_message_of_every_alarm_says_what_to_run(name: str) -> None:
    description = ALARMS[name]["AlarmDescription"]["Fn::Sub"]
    assert COMMAND.search(description)
    # https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html
    assert len(description) < 900
    assert "<stage>" not in description


def test_every_alarm_has_a_drill_and_every_drill_an_alarm() -> None:
    assert DRILLS.keys() == ALARMS.keys()


def test_every_alarm_has_a_row_in_the_operations_page() -> None:
    page = (Path(template.FOLDER).parent / "docs" / "operations.md").read_text()
    section = page.partition("## When an alarm rings")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `([a-z0-9-]+)` \|", section, re.MULTILINE) == list(ALARMS)


def test_an_alarm_on_a_metric_of_our_own_names_one_of_the_contract_with_its_dimensions() -> None:
    contract = contracts.read("metrics")
    watched = set()
    for alarm in ALARMS.values():
        for metric in metrics_of(alarm):
            if metric["Namespace"].startswith("AWS/"):
                continue
            assert metric["Namespace"] == contract["namespace"]
            assert [one["Name"] for one in metric["Dimensions"]] in (
                contract["metrics"][metric["MetricName"]]["dimensions"]
            )
            watched.add(metric["MetricName"])
    # The Lambda canary reads the metrics of both releases, and acts by itself.
    assert watched | set(SUMS) == contract["metrics"].keys()
    assert not watched & set(SUMS)


def test_the_alarms_of_validate_have_the_bounds_of_its_checks() -> None:
    limits = thresholds()
    assert ALARMS["data-old"]["Threshold"] == 60 * limits.freshness.largest_hours_since_load
    assert ALARMS["volume"]["Threshold"] == limits.volume.lowest_ratio


def test_the_first_template_has_no_alarms_and_the_whole_one_has_them() -> None:
    first, whole = (
        json.loads(body(DEV, ACCOUNT))["Resources"]
        for body in (template.render_without_pipeline, template.render)
    )
    assert not [one for one in first.values() if one["Type"] in template.LATER_TYPES]
    assert len([one for one in whole.values() if one["Type"] == "AWS::CloudWatch::Alarm"]) == len(ALARMS)
    assert '"NoEvents"' not in json.dumps(list(first.values()))


def test_no_two_stages_share_an_alarms_metric() -> None:
    def metrics(name: str) -> set[str]:
        stage = read_stage(name)
        values = stack_parameters(stage, ACCOUNT, "0" * 64) | {
            "AWS::AccountId": ACCOUNT,
            "AWS::Region": stage.region,
            "AWS::Partition": "aws",
        }
        text = json.dumps([alarm for _, alarm in of_type("AWS::CloudWatch::Alarm")])
        for key, value in values.items():
            text = text.replace(f'{{"Ref": "{key}"}}', json.dumps(value)).replace(f"${{{key}}}", value)
        alarms = json.loads(text)
        found = [alarm for alarm in alarms if "MetricName" in alarm]
        found += [
            query["MetricStat"]["Metric"]
            for alarm in alarms
            for query in alarm.get("Metrics", [])
            if "MetricStat" in query
        ]
        keys = [json.dumps([one["Namespace"], one["MetricName"], one["Dimensions"]]) for one in found]
        # An attribute of a resource differs between stacks.
        return {key for key in keys if "Fn::GetAtt" not in key}

    dev, prod = metrics("dev"), metrics("prod")
    assert dev
    assert not dev & prod


def test_a_definition_that_asks_for_an_unknown_value_is_refused(tmp_path: Any) -> None:
    pipeline = tmp_path / "pipeline.asl.json"
    pipeline.write_text(
        '{"StartAt": "Prepare", "States": {"Prepare": {"Type": "Pass", "Assign": {}, "Result": "${Unknown}", "End": true}}}'
    )
    with pytest.raises(template.TemplateError, match="wants Unknown"):
        template.render(DEV, ACCOUNT, pipeline=pipeline)


def test_the_first_template_fits_into_a_request() -> None:
    body = template.render_without_pipeline(DEV, ACCOUNT)
    assert len(body.encode()) <= template.BODY_MAX_BYTES
    assert "DefinitionSubstitutions" not in body


def test_raw_files_expire_only_when_they_carry_the_tag_of_packed_files_and_an_age_is_set() -> None:
    rules = RESOURCES["EventsBucket"]["Properties"]["LifecycleConfiguration"]["Rules"]
    conditional = [rule["Fn::If"] for rule in rules if "Fn::If" in rule]
    ((condition, rule, otherwise),) = conditional
    assert TEMPLATE["Conditions"][condition] == {"Fn::Not": [{"Fn::Equals": [{"Ref": "RawExpireDays"}, "0"]}]}
    assert otherwise == {"Ref": "AWS::NoValue"}
    assert rule["Prefix"] == RAW_PREFIX
    assert rule["TagFilters"] == PACKED_TAG["TagSet"]
    always = [rule for rule in rules if "Fn::If" not in rule]
    expiring = [
        rule["Prefix"] for rule in always if {"ExpirationInDays", "NoncurrentVersionExpiration"} & rule.keys()
    ]
    assert not [
        prefix for prefix in expiring if RAW_PREFIX.startswith(prefix) or PACKED_PREFIX.startswith(prefix)
    ]


def test_snowflakes_role_reads_and_writes_exactly_where_its_stages_are() -> None:
    setup = (template.RESOURCES_FILE.parents[1] / "sql" / "setup" / "3_stages.sql").read_text()
    of_stages = set(re.findall(r"^    url = 's3://\{\{ (\w+)_bucket \}\}/([\w-]+/)'", setup, re.MULTILINE))
    [policy] = RESOURCES["SnowflakeRole"]["Properties"]["Policies"]
    text = json.dumps([one["Resource"] for one in policy["PolicyDocument"]["Statement"]])
    of_role = {
        (bucket.lower(), prefix) for bucket, prefix in re.findall(r"\{(\w+)Bucket\.Arn\}/([\w-]+/)\*", text)
    }
    [listed] = [one["Condition"] for one in policy["PolicyDocument"]["Statement"] if "Condition" in one]
    assert of_role == of_stages
    assert of_stages == {
        *(("events", "raw/"), ("events", "catalogue/")),
        *(("models", "exports/"), ("models", "batch/")),
    }
    assert {f"{prefix}*" for _, prefix in of_stages} == set(listed["StringLike"]["s3:prefix"])
