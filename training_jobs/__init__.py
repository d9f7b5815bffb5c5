"""What SageMaker runs: training, the gate's evaluation, and inference. Never imported by functions/."""
