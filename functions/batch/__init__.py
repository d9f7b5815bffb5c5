"""Batch: a list of recommendations per client, for mail, in the warehouse."""
