"""Tugboat's Lambda code: one folder per step of an event's journey, the steps' shared code in platform/."""
