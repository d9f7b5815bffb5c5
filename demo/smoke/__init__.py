"""The smoke test of a deployed stage: the whole journey at small size, with the time and the cost of each step."""
