"""Drills: ring an alarm on purpose, and see the message that its subscribers get."""
