"""Validate: the gate between the warehouse and training."""
