"""Where each resource of the stack and each service of the state machine is on the bill, or why it is free.

A test compares these tables with statemachine/resources.yaml and pipeline.asl.json.
A new resource needs an entry here, and a line in the bill if it costs something.
"""

# The services of the lines by the type of the resource.
PRICED: dict[str, tuple[str, ...]] = {
    "AWS::CloudWatch::Alarm": ("CloudWatch",),
    "AWS::CloudWatch::Dashboard": ("CloudWatch",),
    "AWS::CodeBuild::Project": ("CodeBuild",),
    "AWS::ECR::Repository": ("ECR",),
    "AWS::KinesisFirehose::DeliveryStream": ("Firehose",),
    "AWS::Logs::LogGroup": ("CloudWatch",),
    "AWS::S3::Bucket": ("S3", "EventBridge"),
    "AWS::SNS::Topic": ("SNS",),
    "AWS::SecretsManager::Secret": ("Secrets Manager",),
    "AWS::StepFunctions::StateMachine": ("Step Functions", "X-Ray"),
}
FREE: dict[str, str] = {
    "AWS::Budgets::Budget": "a budget without actions is free",
    "AWS::Events::Rule": "rules on a schedule and deliveries to targets are free; the buckets' events have a line",
    "AWS::IAM::Role": "IAM is free",
    "AWS::Logs::LogStream": "the group's data has lines",
    "AWS::S3::BucketPolicy": "a policy is free",
    "AWS::SNS::Subscription": "the topic's mails have a line",
    "AWS::SNS::TopicPolicy": "a policy is free",
    "AWS::SQS::Queue": "it gets undelivered messages only; the first million requests of a month are free",
    "AWS::SQS::QueuePolicy": "a policy is free",
}
# The line of each service that a state calls, by its ARN in the definition.
TASKS: dict[str, tuple[str, ...]] = {
    "arn:aws:states:::lambda:invoke": ("Lambda",),
    "arn:aws:states:::sagemaker:createTrainingJob.sync": ("SageMaker",),
    "arn:aws:states:::sagemaker:createProcessingJob.sync": ("SageMaker",),
    "arn:aws:states:::aws-sdk:s3:getObject": ("S3",),
    "arn:aws:states:::sns:publish": ("SNS",),
    # Only in a stage whose runner is codebuild.
    "arn:aws:states:::codebuild:startBuild.sync": ("CodeBuild",),
}
FREE_TASKS: dict[str, str] = {
    "arn:aws:states:::states:startExecution": "only a stage with batch_nightly starts batches, which have lines of their own",
    "arn:aws:states:::states:startExecution.sync:2": "the transitions of the execution that it starts have a line",
    "arn:aws:states:::aws-sdk:sagemaker:describeEndpoint": "SageMaker's control plane is free",
    "arn:aws:states:::sagemaker:createHyperParameterTuningJob.sync": "only `make run ARGS=--tune` starts it; each of its "
    "jobs costs what a training job costs",
}
NOT_COUNTED = (
    "free tiers and credits, discounts and savings plans, taxes",
    "tuning, replay, rollback and `make train`: a person starts them, and they cost what their run costs",
    "a full refresh, which rebuilds all tables from the whole history",
    "retries, failed runs, and requests that API Gateway refuses",
    "queries of people beyond reader_hours_per_month; reader_credits_per_month limits them",
    "Snowflake's cloud services, which are free up to 10 % of a day's credits",
    "support plans, and everything in the account that is not of this stage",
)
