"""The SDK and the carousel in JavaScript, and the command that builds them."""
