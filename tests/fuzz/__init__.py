"""Inputs that nobody meant, into the two ways by which strangers reach the gateway."""
