"""The HTTP transport, the open API: translates between JSON and the use cases, and no more."""
