"""The entry point of `python -m agent` and `pigment-sync`."""

from __future__ import annotations

import sys

from agent.cli.app import run_cli


def main() -> None:
    """Run the command line and exit with its code (design section 10)."""
    sys.exit(run_cli(sys.argv[1:]))


if __name__ == "__main__":
    main()
