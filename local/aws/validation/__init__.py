"""Validation of requests against botocore's service models, with the errors that the services return.

botocore checks little before it sends a request: required members, types and minimums. The services check more. Without this
package an invalid name passes every local test and fails on AWS. `requests.install` validates each request to the local AWS.
"""
