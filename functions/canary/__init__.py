"""Canary: a share of the shoppers for a new release, and its figures against the current one."""
