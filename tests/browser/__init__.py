"""The storefront's JavaScript in a real browser, against the real handlers with services that behave."""
