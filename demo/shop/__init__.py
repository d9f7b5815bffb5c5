"""A small shop over the generated catalogue, to see the SDK and the carousel at work: `make shop`."""
