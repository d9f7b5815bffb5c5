"""Tugboat's Lambda code: one folder a step of an event's journey."""
