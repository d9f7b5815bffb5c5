"""The tests of the data that a model learns from."""
