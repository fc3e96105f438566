"""A real OpenID Connect provider in a process of its own, with some people in groups."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from subprocess import DEVNULL, PIPE

__all__ = ["oidc_provider"]

GROUPS = {"ana": ["Identity team", "Everybody"], "leo": ["Auditors"], "eve": ["Everybody"], "odd": None}
PROVIDER = """
import json, sys, threading
from oidc_provider_mock import User, run_server_in_thread
groups = json.loads(sys.argv[1])
users = [
    User(sub=sub, claims={"email": f"{sub}@acme.com", "email_verified": sub == "ana", "groups": groups[sub]})
    for sub in groups
]
with run_server_in_thread(user_claims=users, require_nonce=True) as server:
    print(server.server_port, flush=True)
    sys.stdin.read()
"""


@contextmanager
def oidc_provider() -> Iterator[str]:
    """Yield the issuer; the process ends with its input."""
    command = [sys.executable, "-W", "ignore", "-c", PROVIDER, json.dumps(GROUPS)]
    with subprocess.Popen(command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, text=True) as process:
        assert process.stdout is not None
        yield f"http://localhost:{process.stdout.readline().strip()}"
        process.communicate("")
