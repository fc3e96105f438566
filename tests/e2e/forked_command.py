"""A `pigment-sync` for shells whose processes are forked, as those of `tests.e2e.fork_server` are."""

from __future__ import annotations

import json
import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

from tests.e2e.fork_server import LONGEST_REQUEST, fork

__all__ = ["forked_command"]

# Without the packages of this environment it starts in some hundredths of a second.
CLIENT = """
import json, os, socket, sys
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
    server.connect(sys.argv[1])
    request = json.dumps([sys.argv[2:], dict(os.environ), os.getcwd()])
    socket.send_fds(server, [request.encode()], [1, 2])
    answer = server.recv(16)
sys.exit(int(answer) if answer else "the tests have ended")
"""


@contextmanager
def forked_command() -> Iterator[Path]:
    """Yield a folder for `PATH`. Its command has no standard input, and can't be sent a signal."""
    # Not a folder of pytest's: the path of a socket has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="command-") as name:
        folder = Path(name)
        client, address, command = folder / "client.py", folder / "socket", folder / "pigment-sync"
        client.write_text(CLIENT, "utf-8")
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "{client}" "{address}" "$@"\n', "utf-8")
        command.chmod(0o755)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(str(address))
            listener.listen()
            server = Thread(target=_serve, args=[listener])
            server.start()
            try:
                yield folder
            finally:
                listener.shutdown(socket.SHUT_RDWR)
                server.join()


def _serve(listener: socket.socket) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        # Both ends of a pipe may be our command.
        Thread(target=_answer, args=[client], daemon=True).start()


def _answer(client: socket.socket) -> None:
    with client:
        message, streams, _, _ = socket.recv_fds(client, LONGEST_REQUEST, 2)
        arguments, environment, folder = json.loads(message)
        try:
            process = fork(arguments, environment, Path(folder), *streams)
        finally:
            for stream in streams:
                os.close(stream)
        code = process.wait()
        # As a shell reports a signal.
        client.send(str(code if code >= 0 else 128 - code).encode())
