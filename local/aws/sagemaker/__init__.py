"""SageMaker with jobs and endpoints that run as processes of this machine and follow the contract of its containers.

In moto 5.2.5 jobs are Completed at once, and endpoints answer from a queue of prepared results.
"""

from local.aws.sagemaker.install import install, stop_all

__all__ = ["install", "stop_all"]
