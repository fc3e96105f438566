"""The entry point of `python -m agent` and `pigment-sync`."""

from __future__ import annotations

import gc
import os
import sys

GC_THRESHOLDS = (1_000_000, 20, 20)
"""A read makes millions of values and no cycle. With the collector's default of 700 new values it scans everything read
so far again and again: a third of the processor's time of a plan of 100,000 people. With 50,000 it is a twentieth."""


def main() -> None:
    """Run the command line and exit with its code (design section 10)."""
    gc.set_threshold(*GC_THRESHOLDS)
    # A plugin of another package would see every secret of the configuration. The search for plugins reads the metadata
    # of each installed package.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    # Not earlier: its imports make thousands of values too.
    from agent.cli.app import run_cli

    code = run_cli(sys.argv[1:])
    # The system frees the memory of the process at once. Python would first search it for cycles, and free each.
    gc.freeze()
    sys.exit(code)


if __name__ == "__main__":
    main()
