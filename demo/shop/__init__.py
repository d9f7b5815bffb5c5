"""A small shop over the generated catalogue, which shows the SDK and the carousel: `make shop`."""
