"""Commands around the lists for mail: make a batch, export the lists, and list the clients for an item."""
