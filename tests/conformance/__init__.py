"""Everything that the OpenAPI document describes, called by schemathesis."""
