"""The gRPC transport: translates between the schema and the use cases, and no more."""
