"""AWS on this machine: moto, patched in one small module a service.

Every patch names the pin it was written for and why it is there; tests/integration/local holds a contract test for each,
tests/unit/local fails when a pin moves.
"""
