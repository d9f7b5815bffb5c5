"""The rules of a shop: which items a carousel may contain, and in which order. Nothing here reads a clock or a service."""
