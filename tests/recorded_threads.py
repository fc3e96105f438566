"""Record in which threads functions are called: what takes seconds must not run in that of the event loop."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any

__all__ = ["record_threads"]


@contextmanager
def record_threads(*functions: Callable[..., Any]) -> Iterator[dict[str, set[bool]]]:
    """Record of each of *functions* whether its calls came from this thread. New threads are watched too."""
    names = {function.__code__: function.__name__ for function in functions}
    here = threading.get_ident()
    found: dict[str, set[bool]] = {}

    def record(frame: FrameType, event: str, _argument: object) -> None:
        code: CodeType = frame.f_code
        if event == "call" and code in names:
            found.setdefault(names[code], set()).add(threading.get_ident() == here)

    threading.setprofile(record)
    sys.setprofile(record)
    try:
        yield found
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
