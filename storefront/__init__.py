"""The product's code in a shopper's browser: the JavaScript SDK and the carousel element."""
