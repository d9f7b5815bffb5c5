"""The tests of the gate."""
