"""Scripts that SageMaker starts by name. package.py puts them beside the package, at the root of the archive."""
