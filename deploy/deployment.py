"""The steps of a deployment, in order. Each step can be repeated: existing resources stay unchanged."""

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from botocore.exceptions import ClientError

from deploy import (
    adopt_release,
    api_routes,
    build_layers,
    chalice_config,
    chalice_record,
    gateway_responses,
    lambdas,
    layer_versions,
    serving_image,
    stack,
    step_jobs,
    template,
    training_code,
    warehouse_setup,
)
from deploy.bill import prediction
from deploy.chalice_cli import REPOSITORY, record_file, run_chalice
from deploy.command import DeployError, Say
from deploy.experiments.check import check as check_experiments
from deploy.hyperparameters import require_hyperparameters
from deploy.rules.check import check as check_rules
from deploy.rules.stored import upload as upload_rule_set
from deploy.shop_files import shops_of_all_stages
from deploy.stages import Stage, account_of
from deploy.training_code import TrainingCode
from functions.platform.contract import CODE_PREFIX

# SageMaker writes the logs of all jobs of an account to these, and would create them without a limit.
JOB_LOG_GROUPS = ("/aws/sagemaker/TrainingJobs", "/aws/sagemaker/ProcessingJobs")
# The rules of resources.yaml whose target is a Lambda, by the ends of their names, each with its Lambda.
LAMBDA_RULES = (
    ("load-on-arrival", "load"),
    ("catalogue", "catalogue"),
    ("compact", "compact"),
    ("run-ended", "rollback"),
    ("operations", "operations"),
    ("operations-run", "operations"),
)


@dataclass(frozen=True)
class Deployment:
    """One deployment of one stage, with the values that its steps share."""

    stage: Stage
    account_id: str
    code: TrainingCode
    template_body: str = field(repr=False)
    session: Any = field(repr=False)
    say: Say = field(repr=False)

    @property
    def bucket(self) -> str:
        """The models bucket, which also holds code, layers and templates."""
        return self.stage.models_bucket(self.account_id)

    @property
    def parameters(self) -> dict[str, str]:
        """The values of the template's parameters."""
        return template.stack_parameters(self.stage, self.account_id, self.code.digest)

    @cached_property
    def s3(self) -> Any:
        """The client of S3."""
        return self.session.client("s3")

    @cached_property
    def cloudformation(self) -> Any:
        """The client of CloudFormation."""
        return self.session.client("cloudformation")

    @cached_property
    def secrets(self) -> Any:
        """The client of Secrets Manager."""
        return self.session.client("secretsmanager")

    @cached_property
    def lambda_(self) -> Any:
        """The client of Lambda."""
        return self.session.client("lambda")


def prepare(stage: Stage, session: Any, say: Say) -> Deployment:
    """Check the prerequisites and return the deployment.

    Raises:
        DeployError: the experiments, the rules, the hyperparameters, the credentials, the Snowflake login or the template
            cannot be used.
    """
    from training_jobs.package import build_source_archive

    check_experiments(shops_of_all_stages())
    check_rules(shops_of_all_stages())
    require_hyperparameters(stage)
    account_id = account_of(stage, session.client("sts"))
    require_secret(stage, session.client("secretsmanager"))
    say(f"stage {stage.name}, account {account_id}, {stage.region}")
    code = TrainingCode(*build_source_archive())
    return Deployment(stage, account_id, code, template.render(stage, account_id), session, say)


def deploy(deployment: Deployment) -> str:
    """Bring the account to the state that the repository describes, and return the address of the API."""
    create_stack(deployment)
    set_up_warehouse(deployment)
    update_stack(deployment)
    upload_training_code(deployment)
    adopt_old_release(deployment)
    build_serving_image(deployment)
    layer_arns = publish_layers(deployment)
    write_chalice_config(deployment, layer_arns)
    api = deploy_lambdas_and_api(deployment)
    upload_step_package(deployment)
    configure_api(deployment, api["rest_api_id"])
    allow_rules(deployment)
    limit_job_logs(deployment)
    upload_prediction(deployment)
    upload_rules(deployment)
    remove_unused_layers(deployment)
    return api["rest_api_url"]


def preview(deployment: Deployment) -> None:
    """Print the changes of the stack without making them. The template may be uploaded for CloudFormation to read."""
    if stack.is_deployed(deployment.cloudformation, deployment.stage.prefix):
        update_stack(deployment, dry_run=True)
    else:
        create_stack(deployment, dry_run=True)
        deployment.say(
            "nothing was changed; a deployment would go on with the warehouse, the pipeline, the serving image, "
            "the layers and chalice deploy"
        )


def require_secret(stage: Stage, secrets: Any) -> None:
    """Check that the stage's Snowflake login is stored.

    Raises:
        DeployError: it is not.
    """
    try:
        secrets.describe_secret(SecretId=stage.secret_name)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
        raise DeployError(
            f"there is no secret {stage.secret_name} with the Snowflake login. Create it:\n"
            f"  aws secretsmanager create-secret --region {stage.region} --name {stage.secret_name} "
            "--secret-string file://snowflake.json\n"
            'where snowflake.json holds {"account", "user", "private_key_pem", "role", "warehouse", "database"}; '
            "docs/deploy.md explains where each comes from"
        ) from None


def create_stack(deployment: Deployment, dry_run: bool = False) -> None:
    """Create the stack with a placeholder for the pipeline, unless the stack exists.

    CloudFormation reads a template of this size only from a bucket, and the stack creates that bucket.
    """
    name = deployment.stage.prefix
    if stack.is_deployed(deployment.cloudformation, name):
        return
    body = template.render_without_pipeline(deployment.stage, deployment.account_id)
    first = stack.Template(body=body)
    stack.apply(deployment.cloudformation, name, first, deployment.parameters, deployment.say, dry_run)
    if not dry_run:
        deployment.say("created the buckets, streams and roles")


def set_up_warehouse(deployment: Deployment) -> None:
    """Create the tables, roles and integration in Snowflake."""
    warehouse_setup.set_up(deployment.stage, deployment.account_id, deployment.secrets, deployment.say)


def update_stack(deployment: Deployment, dry_run: bool = False) -> None:
    """Bring the stack to the whole template, with the pipeline and the trust of Snowflake's role."""
    stage, say = deployment.stage, deployment.say
    parameters = (
        deployment.parameters
        | warehouse_setup.trust_parameters(stage, deployment.secrets)
        | warehouse_setup.pipe_parameters(stage, deployment.secrets)
    )
    body = deployment.template_body.encode()
    key = f"{CODE_PREFIX}template-{hashlib.sha256(body).hexdigest()[:16]}.json"
    if not training_code.exists(deployment.s3, deployment.bucket, key):
        deployment.s3.put_object(Bucket=deployment.bucket, Key=key, Body=body)
    whole = stack.Template(url=f"https://{deployment.bucket}.s3.{stage.region}.amazonaws.com/{key}")
    changed = stack.apply(deployment.cloudformation, stage.prefix, whole, parameters, say, dry_run)
    if not dry_run:
        stack.protect(deployment.cloudformation, stage.prefix, stage.termination_protection)
    outcome = "unchanged" if not changed else "would change" if dry_run else "updated"
    say(f"stack {stage.prefix}: {outcome}")


def upload_training_code(deployment: Deployment) -> None:
    """Upload the code that SageMaker's jobs run."""
    training_code.reserve_champion_prefixes(deployment.stage.shops, deployment.bucket, deployment.s3)
    uploaded = training_code.upload(deployment.code, deployment.bucket, deployment.s3)
    outcome = "uploaded" if uploaded else "there already"
    deployment.say(f"training code {deployment.code.digest[:12]}: {outcome}")


def adopt_old_release(deployment: Deployment) -> None:
    """Give the release of a stage that served one shop only to that shop."""
    shop = adopt_release.adopt(deployment.stage.served_shops[0], deployment.bucket, deployment.s3)
    if shop is not None:
        deployment.say(
            f"the release on record is the release of shop {shop}; its endpoint stays until its next run"
        )


def build_serving_image(deployment: Deployment) -> None:
    """Build the container that serves the model."""
    built = serving_image.ensure(deployment.stage, deployment.bucket, deployment.session, deployment.say)
    deployment.say(f"serving image {serving_image.tag()}: {'built' if built else 'there already'}")


def publish_layers(deployment: Deployment) -> dict[str, str]:
    """Publish the layers and return their addresses."""
    return {
        layer: layer_versions.publish(
            layer, deployment.stage, deployment.bucket, deployment.lambda_, deployment.s3, deployment.say
        )
        for layer in build_layers.NAMES
    }


def write_chalice_config(deployment: Deployment, layer_arns: dict[str, str]) -> None:
    """Write the stage's entry in .chalice/config.json and its policies."""
    for path in chalice_config.write(deployment.stage, deployment.account_id, layer_arns):
        deployment.say(f"wrote {path.relative_to(REPOSITORY)}: commit it")


def deploy_lambdas_and_api(deployment: Deployment) -> dict[str, str]:
    """Run `chalice deploy` on the record of the last deployment, keep its new record, and return its entry of the API.

    Raises:
        DeployError: Chalice failed, or app.py has no route.
    """
    stage = deployment.stage
    chalice_record.fetch(stage, deployment.bucket, deployment.s3)
    run_chalice("deploy", stage, deployment.say)
    chalice_record.keep(stage, deployment.bucket, deployment.s3)
    api = chalice_record.api_of(record_file(stage))
    if api is None:
        raise DeployError("chalice deployed no API: add a route to app.py, then deploy again")
    return api


def upload_step_package(deployment: Deployment) -> None:
    """Give the jobs of the long steps the package of their Lambdas. A stage whose runner is Lambda needs none."""
    if step_jobs.upload(deployment.stage, deployment.bucket, deployment.lambda_, deployment.s3):
        deployment.say(f"package of the steps that run on {deployment.stage.runner}: uploaded")


def configure_api(deployment: Deployment, api_id: str) -> None:
    """Set what Chalice does not: the Lambda of the events' routes, the gateway's own headers, the limits of requests."""
    stage, apigateway = deployment.stage, deployment.session.client("apigateway")
    api_routes.send_events_to_collect(stage, deployment.account_id, api_id, apigateway, deployment.lambda_)
    gateway_responses.apply(api_id, stage.api_stage, apigateway)
    api_routes.set_throttles(stage, api_id, apigateway)


def allow_rules(deployment: Deployment) -> None:
    """Allow the rules with a Lambda as target to invoke it. The template cannot: it is applied before the Lambdas exist."""
    stage = deployment.stage
    for rule, step in LAMBDA_RULES:
        try:
            deployment.lambda_.add_permission(
                FunctionName=lambdas.named(step).deployed_name(stage),
                StatementId=rule,
                Action="lambda:InvokeFunction",
                Principal="events.amazonaws.com",
                SourceArn=f"arn:aws:events:{stage.region}:{deployment.account_id}:rule/{stage.prefix}-{rule}",
            )
        except ClientError as error:
            # An earlier deployment added it.
            if error.response["Error"]["Code"] != "ResourceConflictException":
                raise


def limit_job_logs(deployment: Deployment) -> None:
    """Let the logs of SageMaker's jobs expire. Their groups are the account's, so a limit that somebody set stays."""
    logs = deployment.session.client("logs")
    for name in JOB_LOG_GROUPS:
        found = logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"]
        group = next((one for one in found if one["logGroupName"] == name), None)
        if group is None:
            logs.create_log_group(logGroupName=name)
        if group is None or "retentionInDays" not in group:
            logs.put_retention_policy(logGroupName=name, retentionInDays=deployment.stage.log_retention_days)
            deployment.say(f"log group {name}: expires after {deployment.stage.log_retention_days} days")


def upload_prediction(deployment: Deployment) -> None:
    """Give the operations page the predicted bill, which it compares with the measured usage."""
    prediction.upload(deployment.stage, deployment.bucket, deployment.s3)


def upload_rules(deployment: Deployment) -> None:
    """Bring the rules of the stage's shops to /recommend, as `make rules` does without a deployment."""
    for shop, written in check_rules(shops_of_all_stages()).items():
        if shop in deployment.stage.shops:
            upload_rule_set(written.rule_set, deployment.s3, deployment.bucket)
            deployment.say(f"rules of {shop}: revision {written.rule_set.revision}")


def remove_unused_layers(deployment: Deployment) -> None:
    """Delete the stage's layers of other content than today's."""
    keep = {layer_versions.layer_name(deployment.stage, layer) for layer in build_layers.NAMES}
    for name in layer_versions.remove(deployment.stage, deployment.lambda_, keep):
        deployment.say(f"removed layer {name}, which no function uses any more")
