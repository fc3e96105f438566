"""The authorities to trust over TLS: `ca_bundle`, else `SSL_CERT_FILE` or `SSL_CERT_DIR`, else those of the agent."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path

import httpx

__all__ = ["TlsConfigError", "tls_context"]

VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
KEY_LOG = "SSLKEYLOGFILE"
FILE_HINT = "Name a readable PEM file with the certificates of the authorities to trust."


class TlsConfigError(ValueError):
    """*name* (a key of the configuration or a variable) can't be used; *problem* completes the sentence."""

    def __init__(self, name: str, words: str, hint: str) -> None:
        super().__init__(f"{name}: {words}.")
        self.name = name
        self.problem = words
        self.hint = hint


def tls_context(ca_bundle: Path | None, environ: Mapping[str, str]) -> ssl.SSLContext:
    """Return the context for one client. Raises `TlsConfigError`."""
    _require_writable_key_log(environ)
    if ca_bundle is not None:
        return _context_from_file("ca_bundle", ca_bundle)
    if environ.get("SSL_CERT_FILE"):
        return _context_from_file("SSL_CERT_FILE", Path(environ["SSL_CERT_FILE"]))
    if environ.get("SSL_CERT_DIR"):
        return _context_from_directories(environ["SSL_CERT_DIR"])
    return _default_context(os.environ.get(KEY_LOG, ""))


@cache
def _default_context(_key_log: str) -> ssl.SSLContext:
    # Loading the authorities is the slowest part of a client. Clients may share a context and its key log.
    return httpx.create_ssl_context(trust_env=False)


def _context_from_file(name: str, file: Path) -> ssl.SSLContext:
    try:
        found = file.stat()
        version = (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size)
        return _load_file(file, version, os.environ.get(KEY_LOG, ""))
    except (OSError, ssl.SSLError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        other = "" if name == "ca_bundle" else " Or unset it, and set ca_bundle in the configuration."
        raise TlsConfigError(name, f"names {file}, which can't be used ({why})", FILE_HINT + other) from error


@lru_cache(maxsize=1)
def _load_file(file: Path, _version: tuple[int, ...], _key_log: str) -> ssl.SSLContext:
    # A daemon makes a client for each run, and must notice that the file was replaced.
    return ssl.create_default_context(cafile=file)


def _context_from_directories(folders: str) -> ssl.SSLContext:
    # OpenSSL itself ignores a missing folder, and then trusts no certificate.
    if not any(Path(each).is_dir() for each in folders.split(os.pathsep) if each):
        raise TlsConfigError(
            "SSL_CERT_DIR",
            f"names {folders}, which is not a folder",
            "Name a folder that `openssl rehash` has prepared, or unset it and set ca_bundle in the configuration.",
        )
    return ssl.create_default_context(capath=folders)


def _require_writable_key_log(environ: Mapping[str, str]) -> None:
    file = environ.get(KEY_LOG)
    if not file:
        return
    try:
        with Path(file).open("ab"):
            pass
    except OSError as error:
        raise TlsConfigError(
            KEY_LOG,
            f"names {file}, which can't be written ({error.strerror})",
            "Unset it: it is for debugging TLS only.",
        ) from error
