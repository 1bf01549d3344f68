"""Sends commands to DJI docks and drones, and says truthfully what became of them."""
