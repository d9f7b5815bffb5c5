"""What runs in a shopper's browser: the JavaScript SDK, the carousel, and a shop to see both in."""
