"""Catalogue: changes of a shop's products, from PUT /catalogue to the state that every carousel reads."""
