"""Scripts: the storefront's JavaScript over HTTP."""
