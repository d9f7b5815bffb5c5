"""The tests of what learns a model."""
