"""The code that learns a model from a snapshot and writes its archive."""
