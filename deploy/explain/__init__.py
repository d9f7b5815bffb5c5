"""Trace a recommendation back: session, events, model, run and snapshot, and what brought each item."""
