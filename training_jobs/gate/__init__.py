"""The code that decides if a model may be published: measurements, baselines and checks."""
