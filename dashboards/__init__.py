"""Superset's boards as code: assets/ holds them, and this package serves them here or posts them elsewhere."""
