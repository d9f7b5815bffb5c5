"""Check, before anything is created, what the first deployment of a stage needs. Every call only reads."""
