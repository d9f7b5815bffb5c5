"""The data that a model learns from: one export of the warehouse, as packed arrays."""
