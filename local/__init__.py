"""AWS and Snowflake emulated on this machine.

The product never imports this package, and this package imports nothing of the product.
"""
