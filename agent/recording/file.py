"""The file of a recording: JSON Lines, each line of one kind, the last one with the checksums of all others.

    header   version, the release that made it, the workspaces
    config   connectors and workspaces, without addresses and secrets
    answer   what one system answered to one request
    state    rows of one table of the state, times as microseconds before the recording
    plan     what was planned for one workspace
    end      the number of lines before it, and their checksums

A name that ends in `.gz` is compressed.
"""

from __future__ import annotations

import gzip
import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import orjson

from agent.errors import UsageError

__all__ = ["VERSION", "Line", "RecordingWriter", "create_recording", "read_recording"]

VERSION = 1
LINE_DIGEST_CHARS = 16
Line = Mapping[str, Any]


@dataclass(slots=True)
class RecordingWriter:
    """Writes the lines of one recording, and counts those of each kind."""

    file: IO[bytes]
    counts: dict[str, int] = field(default_factory=dict)
    _digests: list[str] = field(default_factory=list)

    def write(self, kind: str, content: Line) -> None:
        line = _encode({"kind": kind, **content})
        self.file.write(line)
        self.counts[kind] = self.counts.get(kind, 0) + 1
        self._digests.append(_line_digest(line))

    def end(self) -> None:
        """Write the last line. Without it the file counts as cut."""
        self.file.write(_encode({"kind": "end", **_checksums(self._digests)}))


def _encode(content: Line) -> bytes:
    return orjson.dumps(content, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)


def _line_digest(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()[:LINE_DIGEST_CHARS]


def _checksums(digests: list[str]) -> Line:
    return {"lines": digests, "sha256": hashlib.sha256("".join(digests).encode()).hexdigest()}


@contextmanager
def create_recording(path: Path) -> Iterator[RecordingWriter]:
    """Create the file for its owner alone, and complete it at the end of the block. An error removes it.

    Raises `UsageError` when it exists or can't be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise UsageError(f"{path} exists, and a recording never replaces a file.", "Name another file.") from error
    except OSError as error:
        raise UsageError(f"{path} can't be written ({error.strerror}).", "Name a file in a writable folder.") from error
    try:
        with os.fdopen(descriptor, "wb") as plain:
            if path.suffix == ".gz":
                with gzip.GzipFile(filename="", mode="wb", fileobj=plain, mtime=0) as packed:
                    yield from _write_lines(packed)  # type: ignore[arg-type]  # it has the methods of a binary file
            else:
                yield from _write_lines(plain)
            plain.flush()
            os.fsync(plain.fileno())
    except OSError as error:
        path.unlink(missing_ok=True)
        raise UsageError(f"{path} can't be written ({error.strerror}).", "Check the free space of its disk.") from error
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _write_lines(file: IO[bytes]) -> Iterator[RecordingWriter]:
    writer = RecordingWriter(file)
    yield writer
    writer.end()


def read_recording(path: Path) -> Iterator[Line]:
    """Yield the lines of a recording but the last, once all of them match their checksums. Raises `UsageError`."""
    _verify(path)
    with _open_lines(path) as lines:
        for line in lines:
            content = orjson.loads(line)
            if content["kind"] != "end":
                yield content


@contextmanager
def _open_lines(path: Path) -> Iterator[IO[bytes]]:
    try:
        with path.open("rb") as plain:
            is_packed = plain.read(2) == b"\x1f\x8b"
            plain.seek(0)
            if is_packed:
                with gzip.GzipFile(fileobj=plain) as packed:
                    yield packed  # type: ignore[misc]  # it has the methods of a binary file
            else:
                yield plain
    except (gzip.BadGzipFile, EOFError) as error:
        raise _cut_error(path, f"its compressed data ends or breaks ({error})") from error
    except OSError as error:
        raise UsageError(f"{path} can't be read ({error.strerror or error}).", "Check the name of the file.") from error


def _verify(path: Path) -> None:
    digests: list[str] = []
    described: list[str] = []
    end: Line | None = None
    with _open_lines(path) as lines:
        for number, line in enumerate(lines, 1):
            if end is not None:
                raise _changed_error(path, f"line {number} comes after the end")
            content = _parse(path, number, line)
            if number == 1:
                _check_header(path, content)
            if content["kind"] == "end":
                end = content
            else:
                digests.append(_line_digest(line))
                described.append(" ".join(map(str, filter(None, (content["kind"], content.get("system"))))))
    if end is None:
        raise _cut_error(path, f"its last line, {len(digests)}, is not the end")
    _compare(path, end, digests, described)


def _compare(path: Path, end: Line, digests: list[str], described: list[str]) -> None:
    known = end.get("lines")
    if not isinstance(known, list) or _checksums(list(map(str, known)))["sha256"] != end.get("sha256"):
        raise _changed_error(path, "the checksums in its last line do not match each other")
    for number, (was, now) in enumerate(zip(known, digests, strict=False), 1):
        if was != now:
            raise _changed_error(path, f"line {number} ({described[number - 1]}) is not the line that was written")
    if len(known) != len(digests):
        raise _cut_error(path, f"it has {len(digests)} lines before its end, and {len(known)} were written")


def _parse(path: Path, number: int, line: bytes) -> Line:
    try:
        content = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        if number == 1:
            raise UsageError(f"{path} is not a recording.", "Name a file that `pigment-sync record` wrote.") from error
        raise _cut_error(path, f"line {number} is not whole JSON") from error
    if not isinstance(content, dict) or not isinstance(content.get("kind"), str):
        raise _changed_error(path, f"line {number} has no kind")
    return content


def _check_header(path: Path, content: Line) -> None:
    if content["kind"] != "header":
        raise UsageError(f"{path} is not a recording.", "Name a file that `pigment-sync record` wrote.")
    if content.get("version") != VERSION:
        release = content.get("release")
        raise UsageError(
            f"{path} is a recording of version {content.get('version')}, and this release reads version {VERSION}.",
            f"Replay it with the release that made it ({release}).",
        )


def _cut_error(path: Path, how: str) -> UsageError:
    return UsageError(f"{path} is cut: {how}.", "Ask for the whole file, or record again.")


def _changed_error(path: Path, how: str) -> UsageError:
    return UsageError(f"{path} was edited: {how}.", "A changed recording proves nothing. Ask for it as it was written.")
