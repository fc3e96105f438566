"""One complete response of a server, decoded as JSON on demand."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import httpx
import msgspec
import orjson

from connectors.base import IncompleteRead
from connectors.http.json_body import decode_json, decode_typed
from connectors.http.origin import join_url
from connectors.http.redact import escape_control

__all__ = ["ApiResponse"]

LINK_VALUE = re.compile(r"<([^<>]*)>((?:[^,\"<]|\"[^\"]*\")*)")
LINK_PARAMETER = re.compile(r";\s*([^\s=;,\"]+)\s*=\s*(?:\"([^\"]*)\"|([^\s;,\"]+))")
NOT_JSON_HINT = "Check that the URL in the config is that of the API; if it is, ask its vendor or try again later."

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ApiResponse:
    """*url* is the one that responded. *server* and *about*, the subject of the request, are for messages.

    *request_id* is the vendor's own, for its support.
    """

    status: int
    headers: httpx.Headers
    url: httpx.URL
    body: bytes
    server: str = "The server"
    about: str = ""
    method: str = "GET"
    request_id: str = ""

    @property
    def request_line(self) -> str:
        """Return the method and the path of our own request, without its query."""
        return f"{self.method} {escape_control(self.url.path)}"

    @property
    def request_label(self) -> str:
        """Return the request and its id, in brackets."""
        return f" [{self.request_line}{f', request id {self.request_id}' if self.request_id else ''}]"

    @property
    def request_id_label(self) -> str:
        """Return the id of the request in brackets, empty without one: for sentences that name the request already."""
        return f" [request id {self.request_id}]" if self.request_id else ""

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300

    def json(self) -> object:
        """Return the decoded body. Raises `IncompleteRead` when it is not JSON, or is nested too deeply."""
        try:
            return decode_json(self.body)
        except orjson.JSONDecodeError as error:
            raise self._unexpected_error(f"with a body that is not JSON ({error})") from error

    def typed(self, decoder: msgspec.json.Decoder[T]) -> T | None:
        """Return the body in the shape of *decoder*, None where it has another one: use `json` then."""
        return decode_typed(self.body, decoder)

    def object_or_empty(self) -> Mapping[str, object]:
        """Return the JSON object of the body, empty where the body is anything else."""
        try:
            document = self.json()
        except IncompleteRead:
            return {}
        return document if isinstance(document, dict) else {}

    def rows(self, key: str | None) -> list[object]:
        """Return the JSON array, or the array under *key* of the JSON object. Raises `IncompleteRead`."""
        document = self.json()
        rows = document if key is None else document.get(key) if isinstance(document, dict) else None
        if not isinstance(rows, list):
            wanted = "a list" if key is None else f"a list under {key}"
            raise self._unexpected_error(f"with JSON that is not {wanted}")
        return rows

    def link(self, rel: str) -> str | None:
        """Return the absolute target of the first `Link` (RFC 8288) with the relation, None without one.

        Raises `IncompleteRead` for a target that is not a URL: the rest of the list is out of reach.
        """
        for value in self.headers.get_list("link"):
            for target, parameters in LINK_VALUE.findall(value):
                if rel.lower() in _link_relations(parameters):
                    return str(self._resolve_link(target))
        return None

    def _resolve_link(self, target: str) -> httpx.URL:
        try:
            return join_url(self.url, target)
        except httpx.InvalidURL as error:
            raise self._unexpected_error(
                "with a next link that is not a URL", "Try again later, or ask its vendor."
            ) from error

    def _unexpected_error(self, how: str, hint: str = NOT_JSON_HINT) -> IncompleteRead:
        what = (
            f"for {self.about} {how}{self.request_label}"
            if self.about
            else f"{escape_control(self.url.path)} {how}{self.request_id_label}"
        )
        return IncompleteRead(f"{self.server} answered {what}.", hint)


def _link_relations(parameters: str) -> list[str]:
    """Return the relation types that the parameters of a link name; a quoted title may look like one."""
    named = (quoted or plain for name, quoted, plain in LINK_PARAMETER.findall(parameters) if name.lower() == "rel")
    return next(named, "").lower().split()
