"""The places a report can go to: what a URL means, why it can't be used, and how it is shown without its secrets."""

from __future__ import annotations

import re
from enum import StrEnum
from importlib.util import find_spec
from urllib.parse import unquote, urlsplit

from connectors.secret import Secret

__all__ = ["STORE_EXTRAS", "TargetKind", "show_target", "show_url", "target_kind", "target_problem"]

SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
STORE_EXTRAS = {
    "s3": "s3",
    "s3a": "s3",
    "gs": "gcs",
    "abfs": "azure",
    "abfss": "azure",
    "az": "azure",
    "azure": "azure",
    "adl": "azure",
}
"""Object stores that obstore writes to, by scheme, with the extra of the package that installs it."""
UNFIT_FILE_SYSTEMS = {
    "http": "is read-only",
    "https": "is read-only",
    "memory": "is lost when the process ends",
    "data": "is read-only",
    "local": "is written as file:///FOLDER",
    "gcs": "is written as gs://BUCKET/FOLDER",
}
SERVICES_WITH_HOST = frozenset(
    {"mailto", "mailtos", "json", "jsons", "xml", "xmls", "form", "forms", "apprise", "apprises", "matrix", "matrixs"}
)
"""Apprise services whose URL has a server where others have a token."""


class TargetKind(StrEnum):
    """How files reach a place."""

    FOLDER = "folder"
    STORE = "store"
    FILE_SYSTEM = "file-system"
    MESSAGE = "message"


def target_kind(url: str) -> TargetKind | None:
    """Return how a report gets to *url*; None if nothing here can take it."""
    scheme = _scheme(url)
    if scheme == "file":
        return TargetKind.FOLDER
    if scheme in STORE_EXTRAS:
        return TargetKind.STORE
    if scheme in UNFIT_FILE_SYSTEMS or not scheme:
        return None
    if _is_file_system(scheme):
        return TargetKind.FILE_SYSTEM
    return TargetKind.MESSAGE if _is_message_service(scheme) else None


def target_problem(url: str) -> str:
    """Return why no report can be sent to *url*, with what to do; empty if one can. Never repeats the URL."""
    scheme = _scheme(url)
    if not scheme:
        return "must be a URL: file:///FOLDER, s3://BUCKET/FOLDER, or an Apprise URL such as mailtos://…"
    if scheme in UNFIT_FILE_SYSTEMS:
        return f"has the scheme {scheme}://, which {UNFIT_FILE_SYSTEMS[scheme]}"
    match target_kind(url):
        case TargetKind.FOLDER:
            return _folder_problem(url)
        case TargetKind.STORE:
            return _store_problem(url, scheme)
        case TargetKind.FILE_SYSTEM:
            return _file_system_problem(scheme)
        case TargetKind.MESSAGE:
            return ""
        case None:
            return (
                f"has the unknown scheme {scheme}://; use file://, s3://, gs://, abfs://, or one of Apprise "
                "(https://github.com/caronc/apprise/wiki)"
            )


def show_target(place: Secret, number: int) -> str:
    """Return how the target *number* of a report is shown: never with a secret, and without reading one."""
    url = place.inline_value
    return f"{number + 1}: {place.location}" if url is None else f"{number + 1}: {show_url(url)}"


def show_url(url: str) -> str:
    """Return *url* without user, password, query and what may be a token."""
    scheme = _scheme(url)
    if not scheme:
        return "…"
    rest = url.strip().partition("://")[2].partition("?")[0].partition("#")[0]
    authority, slash, path = rest.partition("/")
    host = authority.rpartition("@")[2]
    if scheme in SERVICES_WITH_HOST:
        return f"{scheme}://{host}"
    if scheme in STORE_EXTRAS:
        # In `abfs://CONTAINER@ACCOUNT` the container stands where others have a user. A password is no part of either.
        return f"{scheme}://{re.sub(':[^@]*@', '@', authority)}{slash}{path}"
    return f"{scheme}://{host}{slash}{path}" if scheme == "file" or _is_file_system(scheme) else f"{scheme}://…"


def _scheme(url: str) -> str:
    match = SCHEME.match(url.strip())
    return match[1].lower() if match else ""


def _folder_problem(url: str) -> str:
    parts = urlsplit(url.strip())
    if parts.netloc not in {"", "localhost"} or not unquote(parts.path).startswith("/"):
        return "must be the absolute path of a folder, with three slashes: file:///srv/reports"
    if parts.query or parts.fragment:
        return "must end with the path of the folder, without ? and #"
    return ""


def _store_problem(url: str, scheme: str) -> str:
    if not urlsplit(url.strip()).netloc:
        return f"names no bucket; write {scheme}://BUCKET/FOLDER"
    if find_spec("obstore") is None:
        return f"needs the extra {STORE_EXTRAS[scheme]}: pip install 'pigment-sync[{STORE_EXTRAS[scheme]}]'"
    return ""


def _file_system_problem(scheme: str) -> str:
    import fsspec

    try:
        fsspec.get_filesystem_class(scheme)
    except (ImportError, ValueError):
        return f"needs a package of fsspec for {scheme}:// that is not installed: see {FSSPEC_WIKI}"
    return ""


FSSPEC_WIKI = "https://filesystem-spec.readthedocs.io/en/latest/api.html#other-known-implementations"


def _is_file_system(scheme: str) -> bool:
    from fsspec.registry import known_implementations, registry

    return scheme in known_implementations or scheme in registry


def _is_message_service(scheme: str) -> bool:
    # Importing it is slow (more than a hundred services), and most configurations have no report.
    from apprise.manager_plugins import NotificationManager

    manager = NotificationManager()  # type: ignore[no-untyped-call]  # the library has none here
    return scheme in manager.schemas()  # type: ignore[no-untyped-call]  # the same
