"""The storefront's JavaScript in a real browser, against the real handlers with fake services."""
