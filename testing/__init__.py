"""Support code that tests and benchmarks share: fakes, servers, deployments and a deployed stage.

The product never imports this package, and nothing outside tests/ imports tests/.
"""
