"""Rules as code: read rules/<shop>.yaml, replay sessions with them, and bring them to the carousels."""
