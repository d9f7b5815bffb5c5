"""Publish: a model that passed its gate, behind the endpoint."""
