"""The record of every command, device and key. Nothing of the database shows above it."""
