"""The JavaScript of the storefront, and the command that makes one file of it."""
