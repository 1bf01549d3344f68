"""Check that the schema still serves the clients of the last release.

``proto/release.binpb`` is that release's schema. It lies in the tree so that the check needs no
history, and changes only by ``make release-image``, together with a line in CHANGELOG.md.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

IMAGE = Path("proto", "release.binpb")


def main() -> None:
    """Print what broke and end with status 1 if anything did."""
    if not IMAGE.is_file():
        sys.exit(f"error: {IMAGE} is missing; `make release-image` writes it")
    done = subprocess.run(["buf", "breaking", "proto", "--against", str(IMAGE)], check=False)
    if done.returncode != 0:
        sys.exit(
            f"error: the schema breaks clients of the last release ({IMAGE}), see above; "
            "if that is meant, `make release-image` accepts it and CHANGELOG.md has to tell them"
        )
    print(f"The schema is compatible with {IMAGE}.")


if __name__ == "__main__":
    main()
