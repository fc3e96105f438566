"""A real PostgreSQL for the tests: created in a temporary folder, started once for each worker, removed at the end.

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
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from uuid import uuid4

from sqlalchemy import create_engine, text

from tests.programs import require

__all__ = ["Server", "free_port", "new_database", "running", "serve", "unprivileged"]

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
    with serve() as server:
        yield server.url


@contextmanager
def serve() -> Iterator[Server]:
    """Yield a server that can be stopped and started again."""
    initdb = Path(require("initdb"))
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    try:
        prefix = unprivileged(folder)
        make = "-U agent -A trust --no-sync -E UTF8 --locale=C.UTF-8"
        command = [*prefix, str(initdb), "-D", str(folder / "data"), *make.split()]
        subprocess.run(command, env=_environment(folder), check=True, stdout=subprocess.DEVNULL, cwd=folder)
        server = _started(prefix, initdb.parent, folder)
        try:
            yield server
        finally:
            server.end()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _environment(folder: Path) -> dict[str, str]:
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(folder)}


@dataclass
class Server:
    """A server with its data in *folder*. It has one port for its whole life, which its clients know."""

    prefix: list[str]
    programs: Path
    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://agent@127.0.0.1:{self.port}"

    def start(self) -> str:
        """Start it and return an empty text, or its output if it does not become ready."""
        folder = self.folder
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
        command = [*self.prefix, str(self.programs / "postgres"), "-D", str(folder / "data"), *options.split()]
        process = subprocess.Popen(
            command, env=_environment(folder), cwd=folder, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
        )
        assert process.stderr is not None
        output = b""
        for line in process.stderr:
            output += line
            if READY in line:
                # A pipe that is never read would block the server one day.
                Thread(target=_emptied, args=[process], daemon=True).start()
                self.process = process
                return ""
        process.wait()
        return output.decode(errors="replace")

    def stop(self, mode: str) -> None:
        """Stop it as an operator does: `fast` ends its sessions, `immediate` leaves recovery to the next start."""
        assert self.process is not None
        arguments = ["stop", "-D", str(self.folder / "data"), "-m", mode, "-w", "-t", "120"]
        command = [*self.prefix, str(self.programs / "pg_ctl"), *arguments]
        subprocess.run(command, env=_environment(self.folder), cwd=self.folder, check=True, stdout=subprocess.DEVNULL)
        self.process.wait()
        self.process = None

    def end(self) -> None:
        if self.process is None:
            return
        # Its fast shutdown: it does not wait for clients to leave.
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(timeout=120)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _started(prefix: list[str], programs: Path, folder: Path) -> Server:
    """Start a server. Another process may take the port between our look and its start: then try another."""
    messages = ""
    for _ in range(ATTEMPTS):
        server = Server(prefix, programs, folder, free_port())
        if not (refusal := server.start()):
            return server
        messages += refusal
    raise AssertionError(f"PostgreSQL did not start: {messages[-2000:]}")


def _emptied(server: subprocess.Popen[bytes]) -> None:
    if server.stderr is not None:
        with server.stderr:
            for _ in server.stderr:
                continue


def new_database(server: str, template: str = "template1") -> str:
    """Make a database on the server, empty or a copy of the database *template*, and return its URL."""
    name = f"state_{uuid4().hex}"
    engine = create_engine(f"{server}/postgres", isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template}"))
    engine.dispose()
    return f"{server}/{name}"
