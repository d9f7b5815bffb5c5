"""AWS on this machine: moto, patched by one small module per service.

Every patch names its reason and the version of moto that it was written for. Each has a contract test in
local/tests/integration/aws, and local/tests/unit/test_pins.py fails when a pin moves.
"""
