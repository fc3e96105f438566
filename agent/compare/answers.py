"""How a reader's own process answers: lines of JSON on its stdout, which nothing else in it can reach."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["Answers", "ReaderFailed", "run_reader"]


class ReaderFailed(Exception):
    """What ends the reading: *message* is what failed and why, *hint* the next step. Neither holds a secret."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Answers:
    """Writes the lines. What libraries print goes to stderr."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)

    def write(self, kind: str, **fields: object) -> None:
        self._out.write(json.dumps({"kind": kind, **fields}) + "\n")
        self._out.flush()

    def progress(self, what: str, done: int, total: int | None = None) -> None:
        self.write("progress", what=what, done=done, total=total)


def run_reader(read: Callable[[Mapping[str, Any], Answers], None]) -> None:
    """Read the request from stdin, let *read* answer it, and write how it ended."""
    answers = Answers()
    request = json.load(sys.stdin)
    try:
        read(request, answers)
    except ReaderFailed as error:
        answers.write("error", message=error.message, hint=error.hint)
    except Exception as error:  # noqa: BLE001  (the end of a process: what a library raises must reach its reader)
        # The text of an exception may quote a secret or a person; its type does not.
        where = error.__traceback__
        while where is not None and where.tb_next is not None:
            where = where.tb_next
        place = f"{os.path.basename(where.tb_frame.f_code.co_filename)}:{where.tb_lineno}" if where else "?"  # noqa: PTH119
        answers.write(
            "error",
            message=f"unexpected {type(error).__name__} at {place}.",
            hint="Report this with the version of the library. Nothing was compared.",
        )
    else:
        answers.write("end")
