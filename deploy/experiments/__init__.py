"""Experiments: the check of their files, and the report of their results."""
