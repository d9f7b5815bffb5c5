"""From a request's events to stored lines: shared by collect and replay."""
