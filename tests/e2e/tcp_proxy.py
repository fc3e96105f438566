"""A TCP proxy that a test cuts off or silences, as a network or a server that restarts does."""

from __future__ import annotations

import selectors
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from threading import Event, Lock, Thread

__all__ = ["Proxy", "Trap", "proxied"]

COMMIT = b"COMMIT"


@dataclass
class Trap:
    """Calls *spring* at the next commit of a transaction with *statement*, and holds the connection until `release`.

    *is_committed*: the server has committed, and the client does not know it yet. Otherwise the commit has not left.
    """

    statement: bytes
    spring: Callable[[], None]
    is_committed: bool
    sprung: Event = field(default_factory=Event)
    released: Event = field(default_factory=Event)

    def hold(self) -> None:
        if not self.sprung.is_set():
            self.spring()
            self.sprung.set()
            self.released.wait()

    def release(self) -> None:
        self.released.set()


@dataclass
class _Watch:
    """What of a trap's transaction has passed over one connection."""

    is_inside: bool = False
    is_committing: bool = False

    def look_at(self, piece: bytes, trap: Trap | None, *, is_from_client: bool) -> None:
        """Hold *piece* where the trap springs."""
        if trap is None:
            return
        is_commit = is_from_client and self.is_inside and COMMIT in piece
        if is_commit if not trap.is_committed else self.is_committing and not is_from_client:
            trap.hold()
        self.is_committing = is_commit
        self.is_inside = trap.statement in piece or (self.is_inside and COMMIT not in piece)


class Proxy:
    """Forwards connections to *target*. *refused* counts those that came while it was cut."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.refused = 0
        self.trap: Trap | None = None
        self._is_cut = False
        self._speaks = Event()
        self._speaks.set()
        self._lock = Lock()
        self._open: set[socket.socket] = set()
        Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Close every connection, and every new one."""
        with self._lock:
            self._is_cut = True
            self._break_off()

    def redirect(self, port: int) -> None:
        """Close every connection, and forward new ones to another port of the same host."""
        with self._lock:
            self._target = (self._target[0], port)
            self._break_off()

    def restore(self) -> None:
        self._is_cut = False
        self._speaks.set()

    def silence(self) -> None:
        """Keep connections open, accept new ones, and forward nothing."""
        self._speaks.clear()

    def close(self) -> None:
        self._listener.close()
        self._speaks.set()
        self.cut()

    def _break_off(self) -> None:
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self._open.clear()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                with self._lock:
                    if self._is_cut:
                        self.refused += 1
                        client.close()
                        continue
                    try:
                        server = socket.create_connection(self._target)
                    except ConnectionRefusedError:
                        client.close()
                        continue
                    self._open.update((client, server))
                Thread(target=self._forward, args=[client, server], daemon=True).start()

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        other = {client: server, server: client}
        watch = _Watch()
        with suppress(OSError, ValueError), selectors.DefaultSelector() as ready:
            for each in other:
                ready.register(each, selectors.EVENT_READ)
            while True:
                for key, _ in ready.select():
                    source = key.fileobj
                    assert isinstance(source, socket.socket)
                    piece = source.recv(65536)
                    self._speaks.wait()
                    watch.look_at(piece, self.trap, is_from_client=source is client)
                    if not piece:
                        other[source].shutdown(socket.SHUT_WR)
                        ready.unregister(source)
                        if not ready.get_map():
                            return
                    else:
                        other[source].sendall(piece)


@contextmanager
def proxied(host: str, port: int) -> Iterator[Proxy]:
    proxy = Proxy((host, port))
    try:
        yield proxy
    finally:
        proxy.close()
