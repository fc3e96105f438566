"""The entry point: the one place where every error ends, each as a sentence and an exit code."""

from __future__ import annotations

import sys

from agent.cli.app import run_cli


def main() -> None:
    """Run the command line and leave with its exit code (design section 10)."""
    sys.exit(run_cli(sys.argv[1:]))


if __name__ == "__main__":
    main()
