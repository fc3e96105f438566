"""Import httpx and structlog without rich, which both load where it is installed: a fifteenth of a command's start.

httpx uses it for a command line of its own, structlog for tracebacks that show local variables, which may hold secrets.
Import this module before any other that imports them. Imported later it does nothing, and all else works as well.
"""

from __future__ import annotations

import sys

__all__: list[str] = []

HIDDEN = ("pygments", "rich")

if sys.modules.keys().isdisjoint(HIDDEN):
    # Python's mark of a module that is not there. Both then do without, as where it is not installed.
    sys.modules.update(dict.fromkeys(HIDDEN))  # type: ignore[arg-type]
    try:
        import httpx  # noqa: F401
        import structlog  # noqa: F401
    finally:
        for name in HIDDEN:
            del sys.modules[name]
