"""Which devices there are, where they are, and how they are."""
