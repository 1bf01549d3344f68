"""Who may call the open API: its signature, its keys, and the check of a request."""
