"""Validate: the gate between the warehouse and training."""

from functions.validate.validator import run

__all__ = ["run"]
