"""The hot folder: what arrives, what was answered, and what to do when a place is lost."""
