"""Step 1 of an event's journey: from a storefront's request to Firehose."""
