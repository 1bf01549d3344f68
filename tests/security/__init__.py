"""The security tests: what strangers and insiders may try, and what comes of it."""
