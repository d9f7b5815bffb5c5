"""Commands of a data steward: the limits of a shop, overrides of failed checks, and the pages of the checks."""
