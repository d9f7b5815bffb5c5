"""Recommend: from a session's items to a carousel."""
