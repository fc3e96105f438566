"""Fork agent processes from one that has imported the agent already.

Starting Python and importing the agent costs 0.8 CPU seconds, and several times as much with SlipCover's probes; a fork
costs some hundredths. Apart from its start each is an ordinary process: its own id, environment, folder, streams,
signals and exit code.

All test processes of one run share the server. The first that needs it starts it, and it ends with the last.

A second server has imported Okta's SDK, which costs 2 CPU seconds, and forks the processes that `compare` reads with.
"""

from __future__ import annotations

import atexit
import errno
import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import selectors
import signal
import socket
import subprocess
import sys
import time
import weakref
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from io import BufferedReader, FileIO
from pathlib import Path
from threading import Lock

from tests import counted_lines
from tests.e2e import wrong_clock

__all__ = ["EXECUTABLE", "LONGEST_REQUEST", "PYTHON", "REPOSITORY", "ForkedProcess", "fork"]

# What the agent imports where it first needs it, and nearly every command needs.
LIBRARIES = (
    "alembic.command",
    "anyio._backends._asyncio",
    "apscheduler.executors.asyncio",
    "httpcore",
    "jwt",
    "msal",
    "rich._unicode_data.unicode17-0-0",
    "uvicorn.lifespan.on",
)
# A test may set another, whose processes are forked.
PYTHON = sys.executable
EXECUTABLE = "FORKED_PROCESS_EXECUTABLE"
"""A variable with the Python that a forked process starts others with."""
REPOSITORY = Path(__file__).parent.parent.parent
LONGEST_REQUEST = 1 << 20
LONGEST_START_SECONDS = 120.0
READY = b"ready"


class ForkedProcess:
    """The part of `subprocess.Popen` that the tests use, for a process that the server has forked."""

    def __init__(self, results: int, stdout: BufferedReader | None, stderr: BufferedReader | None) -> None:
        self.stdout = stdout
        self.stderr = stderr
        self.returncode: int | None = None
        self._results = results
        self._lock = Lock()
        # Not earlier: another thread may be waiting for it.
        weakref.finalize(self, os.close, results)
        self.pid = self._next_result()

    def poll(self) -> int | None:
        """Return the exit code, negative for the signal that ended the process; None while it runs."""
        if self.returncode is None and select.select([self._results], [], [], 0)[0]:
            return self.wait()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the process to end; raises `subprocess.TimeoutExpired`."""
        if self.returncode is None:
            if not select.select([self._results], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(f"agent process {self.pid}", timeout or 0)
            # The sandbox's thread may wait for the process that it killed while the test waits for it too.
            with self._lock:
                if self.returncode is None:
                    self.returncode = self._next_result()
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[bytes, bytes]:
        """Read both streams to their ends and wait; raises `subprocess.TimeoutExpired`."""
        ends_at = None if timeout is None else time.monotonic() + timeout
        out, err = bytearray(), bytearray()
        with selectors.DefaultSelector() as selector:
            for stream, read in ((self.stdout, out), (self.stderr, err)):
                if stream is not None and not stream.closed:
                    selector.register(stream, selectors.EVENT_READ, (stream, read))
            while selector.get_map():
                ready = selector.select(None if ends_at is None else max(ends_at - time.monotonic(), 0))
                if not ready:
                    raise subprocess.TimeoutExpired(f"agent process {self.pid}", timeout or 0)
                for key, _ in ready:
                    stream, read = key.data
                    some = stream.read1()
                    read += some
                    if not some:
                        selector.unregister(stream)
                        stream.close()
        self.wait(None if ends_at is None else max(ends_at - time.monotonic(), 0))
        return bytes(out), bytes(err)

    def send_signal(self, number: int) -> None:
        # Its id may belong to another process once it has ended.
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _next_result(self) -> int:
        line = b""
        while not line.endswith(b"\n"):
            # One byte at a time: `select` must know of each result that has not been read.
            byte = os.read(self._results, 1)
            if not byte:
                raise RuntimeError("the server that forks agent processes has ended")
            line += byte
        return int(line)


def fork(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    folder: Path,
    streams: tuple[int, int, int] = (subprocess.DEVNULL, subprocess.PIPE, subprocess.PIPE),
    module: str = "agent",
) -> ForkedProcess:
    """Start a process that runs *module*.

    *streams* are its input, its output and its errors: file descriptors, or `subprocess.PIPE` for the last two.
    """
    stdin, *outputs = streams
    mine: list[BufferedReader | None] = []
    theirs = []
    for stream in outputs:
        if stream == subprocess.PIPE:
            end, other = os.pipe()
            mine.append(BufferedReader(FileIO(end)))
        else:
            other = os.dup(stream)
            mine.append(None)
        theirs.append(other)
    results, other = os.pipe()
    theirs.append(other)
    theirs.append(os.open(os.devnull, os.O_RDONLY) if stdin == subprocess.DEVNULL else os.dup(stdin))
    request = json.dumps({"arguments": list(arguments), "environment": dict(environment), "folder": str(folder)})
    socket.send_fds(_server(module), [request.encode()], theirs)
    for other in theirs:
        os.close(other)
    return ForkedProcess(results, *mine)


@cache
def _server(module: str) -> socket.socket:
    """Return this process's connection to the server, which is started unless another test process has done it."""
    # Linux removes such an address with its last socket. The workers of one run have the same parent.
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    address = f"\0{module}-forks-" + (f"{run}-{os.getppid()}" if run else str(os.getpid()))
    ends_at = time.monotonic() + LONGEST_START_SECONDS
    is_started = False
    while not is_started and time.monotonic() < ends_at:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            is_started = _start(listener, address, module)
        with suppress(ConnectionError):
            return _connect(address)
        # Another process has bound the address and does not listen yet, or its server is ending.
        time.sleep(0.05)
    raise RuntimeError("the server that forks agent processes could not be started")


def _start(listener: socket.socket, address: str, module: str) -> bool:
    """Start a server at *address*; False: there is one."""
    try:
        listener.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return False
        raise
    listener.listen()
    process = subprocess.Popen(
        [PYTHON, "-m", "tests.e2e.fork_server", str(listener.fileno()), module],
        pass_fds=[listener.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        cwd=REPOSITORY,
        env=os.environ | counted_lines.INHERITED,
    )
    # It is called after our connection is closed, which is registered later.
    atexit.register(process.wait)
    return True


def _connect(address: str) -> socket.socket:
    with ExitStack() as stack:
        server = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
        server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LONGEST_REQUEST)
        server.connect(address)
        if server.recv(len(READY)) != READY:
            raise ConnectionResetError
        stack.pop_all()
    atexit.register(server.close)
    return server


def _import_the_agent() -> None:
    import agent
    import connectors

    for package in (agent, connectors):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if module.name != "agent.__main__":
                importlib.import_module(module.name)
    for library in LIBRARIES:
        importlib.import_module(library)
    # It keeps the context with the authorities of this machine, which takes 20 ms to load.
    importlib.import_module("connectors.http.tls").tls_context(None, {})
    # Alembic, SQLAlchemy and the probes keep much of what a new state needs, and Jinja the compiled templates.
    engine = importlib.import_module("sqlalchemy").create_engine("sqlite://")
    importlib.import_module("agent.store.migrate").migrate(engine, "a state in memory")
    engine.dispose()
    templates = importlib.import_module("agent.web.page_frame").page_templates()
    for name in templates.list_templates(extensions=["html"]):
        templates.get_template(name)
    # A collection in each process would copy every page that holds an object.
    gc.collect()
    gc.freeze()


@dataclass
class _Requests:
    """The connections of the test processes, which request forks."""

    listener: socket.socket
    connections: dict[int, socket.socket] = field(default_factory=dict)

    def accept(self) -> None:
        connection, _ = self.listener.accept()
        self.connections[connection.fileno()] = connection
        # The test process may have ended meanwhile.
        with suppress(BrokenPipeError):
            connection.send(READY)

    def receive(self, number: int) -> tuple[bytes, list[int]]:
        """Return a request, and its streams; no bytes: the test process has ended."""
        message, streams, _, _ = socket.recv_fds(self.connections[number], LONGEST_REQUEST, 4)
        if not message:
            self.connections.pop(number).close()
        return message, streams

    @property
    def have_ended(self) -> bool:
        return not self.connections and not select.select([self.listener], [], [], 0)[0]

    def close(self) -> None:
        for each in (self.listener, *self.connections.values()):
            each.close()


def _serve(requests: _Requests) -> None:
    """Fork for each request; returns only in a forked process, which is to run the agent then."""
    results: dict[int, int] = {}
    woken, wake = os.pipe()
    os.set_blocking(woken, False)
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    # Ctrl-C in a terminal reaches this process too; it ends when the tests do.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        ready, _, _ = select.select([requests.listener.fileno(), woken, *requests.connections], [], [])
        if woken in ready:
            os.read(woken, 1 << 16)
            _report_ended(results)
        if requests.listener.fileno() in ready:
            requests.accept()
        for number in requests.connections.keys() & set(ready):
            message, streams = requests.receive(number)
            if message and not _fork(results, streams):
                signal.set_wakeup_fd(-1)
                for each in (woken, wake, *results.values()):
                    os.close(each)
                requests.close()
                _become(json.loads(message), streams)
                return
        if requests.have_ended:
            os._exit(0)


def _fork(results: dict[int, int], streams: Sequence[int]) -> int:
    """Return the id of a new process, and 0 in that process."""
    process = os.fork()
    if process:
        out, err, result, source = streams
        for each in (out, err, source):
            os.close(each)
        results[process] = result
        # The test process may have been killed: the others go on.
        with suppress(BrokenPipeError):
            os.write(result, f"{process}\n".encode())
    return process


def _report_ended(results: dict[int, int]) -> None:
    for process in list(results):
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            result = results.pop(process)
            # The test may have ended without waiting for its process.
            try:
                os.write(result, f"{os.waitstatus_to_exitcode(status)}\n".encode())
            except BrokenPipeError:
                continue
            finally:
                os.close(result)


def _become(request: Mapping[str, object], streams: Sequence[int]) -> None:
    """Take on the arguments, environment, folder and streams that the process would have been started with."""
    out, err, result, source = streams
    os.dup2(source, 0)
    os.dup2(out, 1)
    os.dup2(err, 2)
    for stream in (out, err, result, source):
        os.close(stream)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    environment, arguments, folder = request["environment"], request["arguments"], request["folder"]
    assert isinstance(environment, dict)
    assert isinstance(arguments, list)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    # What the process starts itself can be forked too.
    sys.executable = environment.get(EXECUTABLE, sys.executable)
    os.chdir(str(folder))
    sys.argv = [str(REPOSITORY / "agent" / "__main__.py"), *arguments]
    if counted_lines.VARIABLE in os.environ:
        counted_lines.write_lines_at_exit()


class _Ending:
    """Ends a process without Python's finalization, which would copy every page: 0.07 s of CPU."""

    code: int | None = None

    def __call__(self) -> None:
        if self.code is None:
            return
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except OSError:
            # Python reports it, and exits with 120.
            return
        os._exit(self.code)


def _run_agent(requests: _Requests) -> None:
    counted_lines.probe_imports()
    _import_the_agent()
    # Forgotten here, once, and not in each process: that copies many pages.
    counted_lines.write_lines()
    _serve(requests)
    if seconds := os.environ.get(wrong_clock.VARIABLE):
        wrong_clock.set_clock(timedelta(seconds=float(seconds)))
    from agent.__main__ import main

    main()


def _run_reader(requests: _Requests, module: str) -> None:
    """Run another reader of `compare`; the lines of its process are not counted."""
    for library in ("okta.client", "okta.http_client", "agent.compare.answers", "connectors.okta.auth"):
        importlib.import_module(library)
    gc.collect()
    gc.freeze()
    _serve(requests)
    runpy.run_module(module, run_name="__main__", alter_sys=True)
    sys.exit(0)


if __name__ == "__main__":
    ending = _Ending()
    # First, so that it is called last.
    atexit.register(ending)
    requests = _Requests(socket.socket(fileno=int(sys.argv[1])))
    served = sys.argv[2]
    try:
        _run_agent(requests) if served == "agent" else _run_reader(requests, served)
    except SystemExit as ended:
        if isinstance(ended.code, int):
            ending.code = ended.code
        raise
