"""Rollback: the endpoint back onto an earlier release."""
