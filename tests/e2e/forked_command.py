"""Commands for shells, and a Python, whose processes are forked as those of `tests.e2e.fork_server` are."""

from __future__ import annotations

import ast
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread

from tests.e2e.fork_server import LONGEST_REQUEST, PYTHON, fork

__all__ = ["forked_command", "forked_reader"]

READER = "agent.compare.okta_sdk_process"

# Without the packages of this environment, and without the modules `json` and `socket`, it starts in 10 ms.
CLIENT = """
import _socket, os, sys
server = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
server.connect(sys.argv[1])
request = repr((sys.argv[2:], dict(os.environ), os.getcwd())).encode()
streams = b"".join(stream.to_bytes(4, sys.byteorder) for stream in (0, 1, 2))
server.sendmsg([request], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, streams)])
answer = server.recv(16)
server.close()
sys.exit(int(answer) if answer else "the tests have ended")
"""


@contextmanager
def forked_command() -> Iterator[Path]:
    """Yield a folder for `PATH`. Its command can't be sent a signal."""
    with _command("pigment-sync", "agent") as folder:
        yield folder


@contextmanager
def forked_reader() -> Iterator[Path]:
    """Yield a Python that forks the process that reads with Okta's SDK, and runs any other module as always.

    The fork has imported the SDK before it knows which authorities to trust: over TLS, start Python itself.
    """
    others = f'case " $* " in *" -m {READER} "*) ;; *) exec "{PYTHON}" "$@" ;; esac\n'
    with _command("python", READER, others) as folder:
        yield folder / "python"


@contextmanager
def _command(called: str, module: str, before: str = "") -> Iterator[Path]:
    # Not a folder of pytest's: the path of a socket has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="command-") as name:
        folder = Path(name)
        client, address, command = folder / "client.py", folder / "socket", folder / called
        client.write_text(CLIENT, "utf-8")
        command.write_text(f'#!/bin/sh\n{before}exec "{PYTHON}" -I -S "{client}" "{address}" "$@"\n', "utf-8")
        command.chmod(0o755)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(str(address))
            listener.listen()
            server = Thread(target=_serve, args=[listener, module])
            server.start()
            try:
                yield folder
            finally:
                listener.shutdown(socket.SHUT_RDWR)
                server.join()


def _serve(listener: socket.socket, module: str) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        # Both ends of a pipe may be our command.
        Thread(target=_answer, args=[client, module], daemon=True).start()


def _answer(client: socket.socket, module: str) -> None:
    with client:
        message, streams, _, _ = socket.recv_fds(client, LONGEST_REQUEST, 3)
        arguments, environment, folder = ast.literal_eval(message.decode())
        stdin, stdout, stderr = streams
        try:
            process = fork(arguments, environment, Path(folder), (stdin, stdout, stderr), module)
        finally:
            for stream in streams:
                os.close(stream)
        code = process.wait()
        # `compare` kills a reader that has answered, without waiting for its end.
        with suppress(BrokenPipeError):
            # As a shell reports a signal.
            client.send(str(code if code >= 0 else 128 - code).encode())
