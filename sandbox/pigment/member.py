"""A member of a pretend workspace, and how it is shown in JSON."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from urllib.parse import quote

import orjson

from sandbox.pigment.options import WorkspaceOptions

__all__ = ["Member"]

USER_SCHEMA = "urn:ietf:params:scim:schemas:core:2.0:User"


@dataclass(slots=True)
class Member:
    """An account in a workspace. Its email is its `userName`. *version* grows with each change.

    *history* are the times at which it was changed, in seconds of the workspace's timer, each with its state before
    (None: it did not exist).
    """

    id: str
    user_name: str
    display_name: str
    created: datetime
    active: bool = True
    given_name: str = ""
    family_name: str = ""
    external_id: str = ""
    modified: datetime | None = None
    version: int = 1
    history: list[tuple[float, Member | None]] = field(default_factory=list, repr=False)
    _cached_json: tuple[str, WorkspaceOptions, bytes] | None = field(default=None, repr=False)

    def mark_changed(self, now: datetime) -> None:
        """Update the version and the time, and drop the cached JSON."""
        self.version += 1
        self.modified = now
        self._cached_json = None

    def save_state(self, at: float) -> None:
        """Store the member's current state, before a change."""
        self.history = [*self.history[-9:], (at, replace(self, history=[], _cached_json=None))]

    def as_of(self, moment: float) -> Member | None:
        """Return the member as it was at *moment*, None when it was not there yet."""
        return next((before for at, before in self.history if at > moment), self)

    @property
    def etag(self) -> str:
        return f'W/"{self.version}"'

    def location(self, base: str) -> str:
        return f"{base}/Users/{quote(self.id, safe='')}"

    def to_json(self, base: str, options: WorkspaceOptions) -> bytes:
        """Return the resource; *base* is the workspace's SCIM URL as the client wrote it. Cached until a change."""
        shown = self._cached_json
        if shown is None or shown[0] != base or shown[1] != options:
            shown = (base, options, orjson.dumps(self._resource(base, options)))
            self._cached_json = shown
        return shown[2]

    def _resource(self, base: str, options: WorkspaceOptions) -> dict[str, object]:
        meta = {
            "resourceType": "User",
            "created": self.created.isoformat(),
            "lastModified": (self.modified or self.created).isoformat(),
            "location": self.location(base),
        }
        if options.etags and options.versions != "demanded":
            meta["version"] = self.etag
        resource: dict[str, object] = {
            "schemas": [USER_SCHEMA],
            "id": self.id,
            "userName": self.user_name,
            "displayName": self.display_name,
            "active": str(self.active) if options.active_as == "text" else self.active,
            "emails": [{"value": self.user_name, "type": "work", "primary": True}],
            "meta": meta,
        }
        if options.keeps_external_id and self.external_id:
            resource["externalId"] = self.external_id
        name = self._name(options)
        if name:
            resource["name"] = name
        return resource

    def _name(self, options: WorkspaceOptions) -> dict[str, str]:
        name = {"formatted": self.display_name} if options.shows_formatted else {}
        if options.keeps_name_parts:
            parts = {"givenName": self.given_name, "familyName": self.family_name}
            name |= {part: value for part, value in parts.items() if value}
        return name
