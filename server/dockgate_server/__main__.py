"""``python -m dockgate_server``: the command ``dockgate``."""

from dockgate_server.cli import main

if __name__ == "__main__":
    main()
