"""What the gateway does with very many commands at once, with the real server and a real broker.

A start with 100,000 open commands, a dock that never answers 10,000 of them, and a start long after
the deadlines of 100,000. Each of these scenes prints figures, some of which have limits.

    python -m load                       # all scenes, as `make load` does
    python -m load silent-spread --waiting 2000
"""
