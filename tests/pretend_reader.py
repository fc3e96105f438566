"""A reader in a process of its own that does what its request asks: `python -m tests.pretend_reader`."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

OUTPUTS = {
    "garbage": "<html>\n",
    "number": "5\n",
    "unknown": "{}\n",
    "long": "1" * 70_000_000,
    "half": '{"kind": "rows", "rows": [1]}\n',
    "error": '{"kind": "error", "message": "no \\u001b[31mway", "hint": "Go on."}\n',
}
Request = Mapping[str, str]


def hang(_: Request) -> None:
    time.sleep(3600)


def die(_: Request) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fail(request: Request) -> None:
    sys.stderr.write("first\n" * 100_000 + f"no luck with {request['secret']}\n")
    sys.exit(3)


def show(_: Request) -> None:
    """Show everything that others can see of this process, and what it started with."""
    shown = {
        "argv": sys.orig_argv,
        "environment": Path("/proc/self/environ").read_text("utf-8").split("\0"),
        "folder": str(Path.cwd()),
        "files": [each.name for each in Path.cwd().iterdir()],
    }
    for line in ({"kind": "progress", "what": "rows", "done": 1, "total": 2}, {"kind": "shown", **shown}):
        sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.write('{"kind": "end"}\n')


ACTS: Mapping[str, Callable[[Request], None]] = {"hang": hang, "die": die, "fail": fail, "show": show}

if __name__ == "__main__":
    asked = json.load(sys.stdin)
    if asked["do"] in OUTPUTS:
        sys.stdout.write(OUTPUTS[asked["do"]])
    else:
        ACTS[asked["do"]](asked)
