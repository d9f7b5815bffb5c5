"""The monthly bill of a stage: predicted from its settings, and corrected by a measured run."""
