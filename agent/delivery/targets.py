"""Put the files of a report in one place: a folder, an object store, another file system, or a message.

A file is never overwritten. One that is there with the same content counts as delivered, because an attempt whose
end was not recorded is repeated.
"""

from __future__ import annotations

import asyncio
import errno
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from agent.logs import redact_secrets
from agent.notifications.delivery import DeliveryError, deliver_files
from agent.notifications.notice import Notice, Severity
from agent.settings.report_targets import TargetKind, target_kind, target_problem
from connectors.http import is_loopback

__all__ = ["Parcel", "TargetError", "deliver_parcel"]

TIMEOUT_SECONDS = 120.0
STORE_TIMEOUT = "60s"
NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV, errno.EINVAL, errno.EMLINK}
"""What a file system answers that has no hard links."""
OTHER_CONTENT = (
    "{name} exists there with other content, and a report is never overwritten. Move that file away, or give the "
    "report another name."
)


class TargetError(Exception):
    """A report was not delivered. *is_final*: another attempt would fail too, so a person must act."""

    def __init__(self, message: str, *, is_final: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.is_final = is_final


@dataclass(frozen=True, slots=True)
class Parcel:
    """What is delivered: the *files* by name, and for messages the *title* and the *body*."""

    title: str
    body: str
    files: Mapping[str, bytes]

    @property
    def size(self) -> str:
        """Return "2 files, 1.4 MB"."""
        total = sum(map(len, self.files.values()))
        number = "1 file" if len(self.files) == 1 else f"{len(self.files)} files"
        return f"{number}, {total / 1_000_000:,.1f} MB" if total >= 100_000 else f"{number}, {total / 1_000:,.1f} kB"


async def deliver_parcel(url: str, parcel: Parcel, ca_bundle: Path | None) -> None:
    """Deliver *parcel* to *url*. Raises `TargetError`, whose message has no secret of the URL."""
    if wrong := target_problem(url):
        raise TargetError(f"The target {wrong}.", is_final=True)
    try:
        if target_kind(url) is TargetKind.MESSAGE:
            notice = Notice(parcel.title, parcel.body, Severity.INFO)
            await deliver_files(url, notice, parcel.files, ca_bundle)
            return
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await asyncio.to_thread(_write_files, url, parcel)
    except DeliveryError as error:
        raise _message_error(error, parcel) from None
    except TimeoutError:
        raise TargetError(f"No response within {TIMEOUT_SECONDS:g} s ({parcel.size}).") from None


def _message_error(error: DeliveryError, parcel: Parcel) -> TargetError:
    if error.is_too_large:
        return TargetError(
            f"The service refused the message because of its size ({parcel.size}). Drop a format of the report, "
            "limit its workspaces, or deliver it to a folder or an object store.",
            is_final=True,
        )
    return TargetError(f"{error} ({parcel.size})")


def _write_files(url: str, parcel: Parcel) -> None:
    match target_kind(url):
        case TargetKind.FOLDER:
            folder = Path(unquote(urlsplit(url.strip()).path))
            for name, content in parcel.files.items():
                _write_in_folder(folder, name, content)
        case TargetKind.STORE:
            _write_in_store(url.strip(), parcel.files)
        case _:
            _write_in_file_system(url.strip(), parcel.files)


def _write_in_folder(folder: Path, name: str, content: bytes) -> None:
    """Write the file under a temporary name, and give it its own name only if no file has it."""
    final, temporary = folder / name, folder / f".{name}.{secrets.token_hex(4)}.tmp"
    try:
        # Not `tempfile`, whose files their owner alone can read: the umask decides.
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        _name_exclusively(temporary, final)
        _sync_folder(folder)
    except FileExistsError:
        _require_same(name, content, final.read_bytes())
    except FileNotFoundError:
        raise TargetError(f"The folder {folder} does not exist. Create it, or mount it.") from None
    except OSError as error:
        raise TargetError(
            f"The folder {folder} can't be written ({error.strerror or error}). Give the user that runs pigment-sync "
            "the right to write there, and check that there is space."
        ) from None
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _name_exclusively(temporary: Path, final: Path) -> None:
    """Raises `FileExistsError` if there is such a file."""
    try:
        os.link(temporary, final)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        # Without links a rename is the atomic way. Only one process delivers a report, under its lease.
        if final.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from None
        temporary.rename(final)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _write_in_store(url: str, files: Mapping[str, bytes]) -> None:
    """Create each object only if its name is free. Options of the store stand in the query of *url*."""
    import obstore
    from obstore.exceptions import AlreadyExistsError, NotSupportedError

    try:
        store = _open_store(url)
        for name, content in files.items():
            try:
                obstore.put(store, name, content, mode="create", use_multipart=False)
            except AlreadyExistsError:
                _require_same(name, content, bytes(obstore.get(store, name).bytes()))
            except NotSupportedError:
                raise TargetError(
                    "The object store has no conditional create, so a report could overwrite another.", is_final=True
                ) from None
    except TargetError:
        raise
    except Exception as error:  # noqa: BLE001  (the library raises its own errors, and Python's for some of them)
        raise _store_error(error) from None


def _open_store(url: str) -> Any:
    from obstore.store import from_url

    parts = urlsplit(url)
    options: Any = dict(parse_qsl(parts.query))
    endpoint = options.get("endpoint") or os.environ.get("AWS_ENDPOINT_URL") or ""
    client: Any = {"timeout": STORE_TIMEOUT, "connect_timeout": "20s"}
    if endpoint.startswith("http://") and is_loopback(urlsplit(endpoint).hostname or ""):
        client["allow_http"] = "true"
    retries: Any = {"max_retries": 2}
    place = parts._replace(query="", fragment="").geturl()
    return from_url(place, config=options, client_options=client, retry_config=retries)


def _store_error(error: Exception) -> TargetError:
    """Return the error in words of ours: the library's quotes requests, and with them keys."""
    name = type(error).__name__.removesuffix("Error")
    remedies = {
        "FileNotFound": "The bucket does not exist. Create it, or correct its name.",
        "NotFound": "The bucket does not exist. Create it, or correct its name.",
        "Permission": "It refused the credentials. Allow them to create and read objects there.",
        "PermissionDenied": "It refused the credentials. Allow them to create and read objects there.",
        "Unauthenticated": "It needs credentials. Set them in the environment, or in the URL.",
        "UnknownConfigurationKey": "An option in the query of its URL is not known.",
    }
    remedy = remedies.get(name, "Check the network, the region, the endpoint and the credentials.")
    return TargetError(f"The object store did not accept it ({name}). {remedy}")


def _write_in_file_system(url: str, files: Mapping[str, bytes]) -> None:
    import fsspec

    try:
        system, folder = fsspec.core.url_to_fs(url)
        for name, content in files.items():
            path = f"{folder.rstrip('/')}/{name}"
            if system.exists(path):
                _require_same(name, content, bytes(system.cat_file(path)))
                continue
            partial = f"{path}.part"
            system.pipe_file(partial, content)
            system.mv(partial, path)
    except TargetError:
        raise
    except Exception as error:  # noqa: BLE001  (dozens of file systems, each with libraries and errors of its own)
        raise TargetError(
            f"The file system did not accept it ({type(error).__name__}: {redact_secrets(str(error))[:200]})."
        ) from None


def _require_same(name: str, content: bytes, found: bytes) -> None:
    if found != content:
        raise TargetError(OTHER_CONTENT.format(name=name), is_final=True)
