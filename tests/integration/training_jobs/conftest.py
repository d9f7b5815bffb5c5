"""Torch's threads, as in the unit tests."""

from tests.unit.training_jobs.conftest import one_thread as one_thread
