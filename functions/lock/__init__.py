"""Lock: one run of the pipeline at a time."""
