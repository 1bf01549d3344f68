"""How fast the gateway is, each figure beside the limit of its parts measured in the same run."""
