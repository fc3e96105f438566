"""Run another reader in a process of its own, so that its memory, its faults and its settings stay there.

The process gets what it needs, secrets included, as one JSON document on stdin: others can see its arguments and its
environment. It starts in an empty folder, which is also its HOME, with nothing in its environment but what is passed on
here. It answers in lines of JSON, and `{"kind": "end"}` is the last one: without it, what came is not used.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import agent
from agent.report.escape import escape_control
from connectors.base import IncompleteRead, Progress, discard_progress

__all__ = ["ReaderProcess", "clean_environment"]

MAX_LINE_BYTES = 64 * 2**20
MAX_ERROR_BYTES = 8192
START_SECONDS = 120.0
"""On a busy machine the import of a large library takes that long."""
MAX_SECONDS = 4 * 3600.0
MIN_SECRET_CHARS = 8
Line = dict[str, object]


def clean_environment(home: Path, variables: Mapping[str, str]) -> dict[str, str]:
    """Return the whole environment of a process that starts in *home*."""
    return {
        "PATH": os.defpath,
        "HOME": str(home),
        "TMPDIR": str(home),
        "LANG": "C.UTF-8",
        "PYTHONUTF8": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        # Where this agent was imported from: in a checkout it is not installed.
        "PYTHONPATH": str(Path(agent.__file__).parent.parent),
        **variables,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderProcess:
    """*module* is run as `python -m`; *name* is the reader's in messages.

    *request* goes to its stdin; *secrets* are those values in it that no message may show. *variables* are all that it
    gets of the environment. It is ended after *silence_seconds* without a line.
    """

    module: str
    name: str
    request: Mapping[str, object]
    secrets: Sequence[str] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    silence_seconds: float = START_SECONDS
    max_seconds: float = MAX_SECONDS
    progress: Progress = discard_progress

    async def read(self) -> list[Line]:
        """Return its lines without those of progress. Raises `IncompleteRead` unless it came to its end."""
        with self._temporary_folder() as folder:
            process = await self._start(Path(folder))
            errors = asyncio.create_task(_last_bytes(process.stderr))
            try:
                async with asyncio.timeout(self.max_seconds):
                    return [line async for line in self._lines(process, errors)]
            except TimeoutError:
                raise self._error(
                    f"did not end within {self.max_seconds:,.0f} s.", "Try again when the other system is less busy."
                ) from None
            finally:
                if process.returncode is None:
                    process.kill()
                await process.wait()
                errors.cancel()

    def _temporary_folder(self) -> tempfile.TemporaryDirectory[str]:
        try:
            return tempfile.TemporaryDirectory(prefix="pigment-sync-compare-")
        except OSError as error:
            raise self._error(
                f"needs an empty folder, and none can be made ({error.strerror}).",
                "Make /tmp writable, or name a folder that is in TMPDIR.",
            ) from error

    async def _start(self, home: Path) -> asyncio.subprocess.Process:
        # -P and -s: neither the folder nor the user's own packages are on its path.
        command = [sys.executable, "-P", "-s", "-m", self.module]
        try:
            return await asyncio.create_subprocess_exec(
                *command,
                cwd=home,
                env=clean_environment(home, self.variables),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                limit=MAX_LINE_BYTES,
            )
        except OSError as error:
            raise self._error(f"can't be started ({error.strerror}).", "Check the machine's limits.") from error

    async def _lines(self, process: asyncio.subprocess.Process, errors: asyncio.Task[bytes]) -> AsyncIterator[Line]:
        await self._send_request(process)
        while True:
            line = _parse_line(await self._next_line(process))
            match line.get("kind") if line is not None else None:
                case "end":
                    return
                case "progress":
                    self._report_progress(line or {})
                case "error":
                    raise _reported_error(line or {}, self.name)
                case str():
                    yield line or {}
                case _:
                    raise await self._garbage_error(process, errors, is_empty=line is None)

    async def _send_request(self, process: asyncio.subprocess.Process) -> None:
        stdin = process.stdin
        if stdin is None:
            raise AssertionError("the process has a pipe as stdin")
        try:
            stdin.write(json.dumps(self.request).encode())
            await stdin.drain()
            stdin.close()
            await stdin.wait_closed()
        except (BrokenPipeError, ConnectionResetError):
            # It has ended already. The end of its output shows how.
            return

    async def _next_line(self, process: asyncio.subprocess.Process) -> bytes:
        if process.stdout is None:
            raise AssertionError("the process has a pipe as stdout")
        try:
            async with asyncio.timeout(self.silence_seconds):
                return await process.stdout.readline()
        except TimeoutError:
            raise self._error(
                f"gave no sign of life for {self.silence_seconds:,.0f} s and was ended.",
                "Try again; if it persists, look at the other system's status page.",
            ) from None
        except ValueError as error:
            raise self._error(
                f"wrote a line of more than {MAX_LINE_BYTES:,} bytes.", "Report this with the version of the library."
            ) from error

    async def _garbage_error(
        self, process: asyncio.subprocess.Process, errors: asyncio.Task[bytes], *, is_empty: bool
    ) -> IncompleteRead:
        if not is_empty:
            return self._error(
                "wrote something that is not an answer.", "Report this with the version of the library that it uses."
            )
        code = await process.wait()
        how = f"was ended by signal {-code}" if code < 0 else f"ended early with exit code {code}"
        said = self._without_secrets((await errors).decode("utf-8", "replace").strip().rpartition("\n")[2])
        memory = " The machine may be short of memory." if code == -9 else ""
        return self._error(f"{how}{f': {said[:300]}' if said else '.'}", f"Try again.{memory}")

    def _without_secrets(self, text: str) -> str:
        parts = {line for secret in self.secrets for line in (secret, *secret.splitlines())}
        for part in sorted(parts, key=len, reverse=True):
            if len(part) >= MIN_SECRET_CHARS:
                text = text.replace(part, "***")
        return escape_control(text)

    def _report_progress(self, line: Line) -> None:
        done, total = line.get("done"), line.get("total")
        self.progress(
            f"{self.name}: {line.get('what', '')}",
            done if isinstance(done, int) else 0,
            total if isinstance(total, int) else None,
        )

    def _error(self, what: str, hint: str) -> IncompleteRead:
        return IncompleteRead(f"The process that reads with {self.name} {what}", f"{hint} Nothing was compared.")


def _parse_line(raw: bytes) -> Line | None:
    """Return a line as an object, empty for anything else; None at the end of the output."""
    if not raw:
        return None
    try:
        found = json.loads(raw)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _reported_error(line: Line, name: str) -> IncompleteRead:
    message = escape_control(str(line.get("message", "")))[:2000]
    return IncompleteRead(f"{name}: {message}", f"{escape_control(str(line.get('hint', '')))[:1000]}".strip())


async def _last_bytes(stream: asyncio.StreamReader | None) -> bytes:
    """Read *stream* to its end, so that its writer never waits, and return its last bytes."""
    last = b""
    while stream is not None and (chunk := await stream.read(65_536)):
        last = (last + chunk)[-MAX_ERROR_BYTES:]
    return last
