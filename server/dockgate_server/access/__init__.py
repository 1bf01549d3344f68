"""Who may call, over gRPC and HTTP: keys, signatures, bearer tokens, and the check of a request."""
