"""The crash test: real processes, killed at random under load, and every promise checked after it.

`python -m chaos` runs it (`make chaos`). The server talks to the broker through a tap that counts
what it publishes, so that "published twice" is decided on the wire and not by who received what.
"""
