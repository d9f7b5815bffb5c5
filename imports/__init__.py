"""Import a shop's own history: files of events through the contract into raw/, by day."""
