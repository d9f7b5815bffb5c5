"""Archived events once more through today's contract: for a refusal that was ours to mend, or a lost table."""
