"""The operations page: one static file that answers if the shop is well, and shows why."""
