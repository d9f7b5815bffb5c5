"""Prove: the golden sessions against the endpoint, then the release record."""
