"""Replace what identifies anyone in the addresses of requests and of next pages. Pure.

A recorded address begins with a made-up origin, one for each system. Paths keep the words of the vendors' APIs, and
queries keep sizes and field names; every other segment is an id, and every other value of a query a cursor.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

from agent.recording.pseudonyms import Visitor

__all__ = ["OTHER_ORIGIN", "AnswerVisitor", "System", "made_up_origin"]

OTHER_ORIGIN = "https://other.invalid"
"""Stands for every server that is not the one of the answer. The agent sends it nothing."""

INVALID_LINK = "https://["
DEFAULT_PORTS = {"https": 443, "http": 80}
PATH_WORDS = frozenset(
    {
        *("api", "v1", "2", "apps", "users", "groups", "roles", "v1.0", "servicePrincipals", "appRoleAssignedTo"),
        *("members", "transitiveMembers", "memberOf", "transitiveMemberOf", "directory", "deletedItems", "Users"),
        *("oauth2", "auth", "v2", "token", "scim", "ServiceProviderConfig", "Schemas", "ResourceTypes"),
    }
)
NUMBER_PARAMETERS = frozenset({"limit", "page", "$top", "count", "startIndex"})
FIELD_PARAMETERS = frozenset({"expand", "$select", "fields"})
FIELD_WORDS = frozenset(
    {
        *("user", "group", "id", "name", "userPrincipalName", "mail", "displayName", "givenName", "surname"),
        *("accountEnabled", "userType", "otherMails", "proxyAddresses", "visibility", "appRoleAssignmentRequired"),
    }
)
ID_PARAMETERS = frozenset({"app_id"})
CURSOR_PARAMETERS = frozenset({"after", "cursor", "$skiptoken", "$skipToken", "$deltatoken", "filter"})
NUMBER = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class System:
    """One system that a plan reads. *kind* is `okta`, `entra`, `onelogin` or `pigment`.

    *name* is the made-up one, *base_url* the real address, which ends where recorded addresses begin.
    """

    name: str
    kind: str
    base_url: str

    def relative_path(self, url: str) -> str | None:
        """Return the path of *url* below the base, None for an address elsewhere."""
        base = urlsplit(self.base_url)
        try:
            parts = urlsplit(url)
            is_here = not (parts.scheme or parts.netloc) or _origin(parts) == _origin(base)
        except ValueError:
            return None
        if not is_here:
            return None
        front = base.path.rstrip("/")
        if parts.path == front or parts.path.startswith(f"{front}/"):
            return parts.path[len(front) :]
        return None


def _origin(url: SplitResult) -> tuple[str, str, int | None, str | None]:
    """Return what must be equal for the agent to follow a link. A link with a user is never followed."""
    return url.scheme, url.hostname or "", url.port or DEFAULT_PORTS.get(url.scheme), url.username


def made_up_origin(system: str) -> str:
    return f"https://{system}.example"


@dataclass(frozen=True, slots=True)
class AnswerVisitor:
    """Replaces the values of the answers of one *system*."""

    values: Visitor
    system: System

    def id(self, text: str) -> str:
        return self.values.id(text)

    def email(self, text: str) -> str:
        return self.values.email(text)

    def name(self, text: str) -> str:
        return self.values.name(text)

    def cursor(self, text: str) -> str:
        return self.values.cursor(text)

    def word(self, text: str) -> str:
        return self.values.word(text)

    def link(self, text: str) -> str:
        """Return the address of another page. One that is not a URL stays one that is not."""
        try:
            urlsplit(text)
        except ValueError:
            return INVALID_LINK
        if not text.strip():
            return text
        return self.address(text)

    def address(self, url: str) -> str:
        """Return the recorded address of a request to *url*."""
        path = self.system.relative_path(url)
        origin = OTHER_ORIGIN if path is None else made_up_origin(self.system.name)
        parts = urlsplit(url)
        segments = (parts.path if path is None else path).split("/")
        shown = "/".join(map(self._segment, segments))
        query = "&".join(self._parameter(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True))
        separator = "" if shown.startswith("/") or not shown else "/"
        return f"{origin}{separator}{shown}{'?' if query else ''}{query}"

    def _segment(self, segment: str) -> str:
        if not segment or segment in PATH_WORDS:
            return segment
        return quote(self.values.id(unquote(segment)), safe="")

    def _parameter(self, name: str, value: str) -> str:
        if name in ID_PARAMETERS:
            return f"{name}={quote(self.values.id(value), safe='')}"
        if name in NUMBER_PARAMETERS and (not value or NUMBER.fullmatch(value)):
            return f"{name}={value}"
        if name in FIELD_PARAMETERS and FIELD_WORDS.issuperset(value.split(",")):
            return f"{name}={value}"
        shown = name if name in CURSOR_PARAMETERS | NUMBER_PARAMETERS | FIELD_PARAMETERS else self.values.word(name)
        return f"{quote(shown, safe='$')}={quote(self.values.cursor(value), safe='')}"
