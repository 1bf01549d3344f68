"""``dockgate dev``: broker, server and simulated dock in one process tree, and a demonstration.

It uses the public interfaces alone: the programs it starts are those that an operator starts,
and the demonstration is a client like any other.
"""
