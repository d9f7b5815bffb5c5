"""SageMaker whose jobs and endpoints are processes of this machine, under the containers' contract.

moto 5.2.5 only pretends: jobs are Completed at once, endpoints answer from a queue of canned results.
"""

from local.aws.sagemaker.install import install, stop_all

__all__ = ["install", "stop_all"]
