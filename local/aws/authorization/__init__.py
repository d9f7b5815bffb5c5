"""IAM: every call is authorized by the policies of its principal, as on AWS.

The module `policies` evaluates documents, and `roles` finds them.
The module `sessions` gives each function, job, endpoint and service a session of its role.
The module `operations` lists which actions an API operation needs, and `enforcement` refuses what the policies do not allow.
"""
