"""The commands that check and generate the documentation."""
