"""Code that several steps share. Nothing here imports a step, and no step imports another step."""
