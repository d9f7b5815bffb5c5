"""The last step of an event's journey: from a session's items to a carousel."""
