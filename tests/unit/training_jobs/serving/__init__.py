"""The tests of what answers at the endpoint."""
