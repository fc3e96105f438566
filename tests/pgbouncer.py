"""A real PgBouncer in front of the tests' PostgreSQL, in the mode that a test requests, removed at its end."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.engine import make_url

from tests.postgres import free_port, unprivileged
from tests.programs import require

__all__ = ["pooled"]

WITHIN_SECONDS = 60
SETTINGS = """
[databases]
* = host={host} port={port} user={user}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen}
auth_type = any
pool_mode = {mode}
default_pool_size = {size}
unix_socket_dir =
"""


@contextmanager
def pooled(url: str, mode: str, size: int = 1) -> Iterator[str]:
    """Yield the URL of the database at *url* through a pool of *size* connections in *mode*.

    With one connection for all clients, each client gets the session state of the previous one.
    """
    program = require("pgbouncer")
    server = make_url(url)
    folder = Path(tempfile.mkdtemp(prefix="pgbouncer-"))
    listen = free_port()
    settings = SETTINGS.format(
        host=server.host, port=server.port, user=server.username, listen=listen, mode=mode, size=size
    )
    (folder / "pgbouncer.ini").write_text(settings, "utf-8")
    prefix = unprivileged(folder)
    pooler = subprocess.Popen(
        [*prefix, program, "pgbouncer.ini"], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _wait_for(listen, pooler)
        yield server.set(port=listen).render_as_string(hide_password=False)
    finally:
        pooler.kill()
        pooler.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for(port: int, pooler: subprocess.Popen[bytes]) -> None:
    while pooler.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=WITHIN_SECONDS).close()
        except ConnectionRefusedError:
            continue
        return
    raise AssertionError("PgBouncer did not start")
