"""A TCP proxy that a test cuts off or silences, as a network or a server that restarts does."""

from __future__ import annotations

import selectors
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Lock, Thread

__all__ = ["Proxy", "proxied"]


class Proxy:
    """Forwards connections to *target*. *refused* counts those that came while it was cut."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.refused = 0
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
                    server = socket.create_connection(self._target)
                    self._open.update((client, server))
                Thread(target=self._forward, args=[client, server], daemon=True).start()

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        other = {client: server, server: client}
        with suppress(OSError, ValueError), selectors.DefaultSelector() as ready:
            for each in other:
                ready.register(each, selectors.EVENT_READ)
            while True:
                for key, _ in ready.select():
                    source = key.fileobj
                    assert isinstance(source, socket.socket)
                    piece = source.recv(65536)
                    self._speaks.wait()
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
