"""Collect: from a storefront's request to Firehose."""
