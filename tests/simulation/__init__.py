"""The gateway in a world of virtual time, where everything goes wrong that can.

The real store, dispatcher, router, hub and use cases run on a loop whose time is a number; the
broker, the docks, the disk and the callers are played, and one seed decides everything they do.
What must hold is checked at every commit, every publish and every step a caller can see.

    python -m simulation --lives 1000000          # many seeds, in several processes
    python -m simulation --seed 17 --trace        # one seed, step by step
"""
