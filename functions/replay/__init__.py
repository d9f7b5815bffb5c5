"""Replay: archived events once more through the current contract."""
