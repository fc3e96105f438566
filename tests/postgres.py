"""A real PostgreSQL for the tests: made in a temporary folder, started once for each worker, gone at the end.

It is a child of the test process and dies with it, even when that is killed.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from uuid import uuid4

from sqlalchemy import create_engine, text

from tests.programs import require

__all__ = ["free_port", "new_database", "running", "unprivileged"]

READY = b"database system is ready to accept connections"
ATTEMPTS = 3


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def unprivileged(folder: Path) -> list[str]:
    """Return how to run a program that refuses to run as root, and that is to end when this process does."""
    dying = ["setpriv", "--pdeathsig", "INT"]
    if os.getuid() != 0:
        return dying
    user = pwd.getpwnam("postgres")
    os.chown(folder, user.pw_uid, user.pw_gid)
    return [*dying, "--reuid=postgres", "--regid=postgres", "--clear-groups"]


@contextmanager
def running() -> Iterator[str]:
    """Yield the URL of a server, without a database at its end: add `/postgres`, or see `new_database`."""
    initdb = Path(require("initdb"))
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    try:
        prefix = unprivileged(folder)
        make = "-U agent -A trust --no-sync -E UTF8 --locale=C.UTF-8"
        command = [*prefix, str(initdb), "-D", str(folder / "data"), *make.split()]
        subprocess.run(command, env=_environment(folder), check=True, stdout=subprocess.DEVNULL, cwd=folder)
        server, port = _started(prefix, initdb.with_name("postgres"), folder)
        try:
            yield f"postgresql+psycopg://agent@127.0.0.1:{port}"
        finally:
            _stop(server)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _environment(folder: Path) -> dict[str, str]:
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(folder)}


def _started(prefix: list[str], program: Path, folder: Path) -> tuple[subprocess.Popen[bytes], int]:
    """Start the server. Another process may take the port between our look and its start: then try another."""
    said = b""
    for _ in range(ATTEMPTS):
        port = free_port()
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
        command = [*prefix, str(program), "-D", str(folder / "data"), *options.split()]
        server = subprocess.Popen(
            command, env=_environment(folder), cwd=folder, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
        )
        assert server.stderr is not None
        for line in server.stderr:
            said += line
            if READY in line:
                # A pipe that nobody empties would stop the server one day.
                Thread(target=_emptied, args=[server], daemon=True).start()
                return server, port
        server.wait()
    raise AssertionError(f"PostgreSQL did not start: {said.decode(errors='replace')[-2000:]}")


def _emptied(server: subprocess.Popen[bytes]) -> None:
    if server.stderr is not None:
        with server.stderr:
            for _ in server.stderr:
                continue


def _stop(server: subprocess.Popen[bytes]) -> None:
    # Its fast shutdown: it does not wait for clients to leave.
    server.send_signal(signal.SIGINT)
    try:
        server.wait(timeout=120)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def new_database(server: str) -> str:
    """Make an empty database on the server and return its URL."""
    name = f"state_{uuid4().hex}"
    engine = create_engine(f"{server}/postgres", isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return f"{server}/{name}"
