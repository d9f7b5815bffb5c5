"""Tests of the emulator; they import nothing of the product."""
