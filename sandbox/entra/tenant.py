"""The pretend tenant: which directory it shows, who may ask, what they may see, and how fast."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from sandbox.company import App, Directory, Group, Person
from sandbox.entra.refusal import GraphRefusal, not_found
from sandbox.entra.token import Client, Grants

__all__ = ["ALL_ROLES", "EntraSwitches", "EntraTenant"]

T = TypeVar("T")

ALL_ROLES = frozenset({"Application.Read.All", "GroupMember.Read.All", "User.Read.All"})
EVERYTHING = "Directory.Read.All"


@dataclass(frozen=True, slots=True)
class EntraSwitches:
    """How the tenant behaves. *page_size* holds without `$top`, *largest_page* is the most that `$top` can ask for.

    *units* per *seconds* are the resource units of one application; None: no limit. *required* is the service
    principal's `appRoleAssignmentRequired`.
    """

    page_size: int = 100
    largest_page: int = 999
    units: int | None = 5000
    seconds: float = 10.0
    required: bool = True


USUAL = EntraSwitches()


class EntraTenant:
    """One tenant. *roles* (the granted application permissions) and *switches* may be changed at any time; tokens
    carry the roles that were granted when they were given. The object id of a service principal is the app's id."""

    def __init__(
        self,
        directory: Directory,
        tenant_id: str,
        clients: Iterable[Client],
        switches: EntraSwitches = USUAL,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.directory = directory
        self.tenant_id = tenant_id
        self.switches = switches
        self.now = now
        self.grants = Grants(tenant_id, {client.client_id: client for client in clients}, now)
        self.grants.roles = ALL_ROLES
        self.requests = 0
        self._began = float("-inf")
        self._used = 0

    @property
    def roles(self) -> frozenset[str]:
        return self.grants.roles

    @roles.setter
    def roles(self, roles: Iterable[str]) -> None:
        self.grants.roles = frozenset(roles)

    def spend(self, units: int) -> float:
        """Count resource units and return the share of the budget that is used. Raise `GraphRefusal` 429."""
        self.requests += 1
        if self.switches.units is None:
            return 0.0
        now = self.now()
        if now >= self._began + self.switches.seconds:
            self._began, self._used = now, 0
        if self._used + units > self.switches.units:
            wait = str(max(1, round(self._began + self.switches.seconds - now)))
            scope = f"Tenant_Application/Read/sandbox/{self.tenant_id}"
            headers = {"Retry-After": wait, "x-ms-throttle-scope": scope}
            headers["x-ms-throttle-information"] = "ResourceUnitLimitExceeded"
            raise GraphRefusal(429, "TooManyRequests", "Too many requests.", headers)
        self._used += units
        return self._used / self.switches.units

    def app(self, key: str) -> App:
        return _known(self.directory.apps.get(key), key)

    def app_by_client_id(self, client_id: str) -> App:
        found = (app for app in list(self.directory.apps.values()) if app.client_id == client_id)
        return _known(next(found, None), client_id)

    def group(self, key: str) -> Group:
        return _known(self.directory.groups.get(key), key)

    def person(self, key: str) -> Person:
        return _known(self.directory.person(key), key)

    def deleted(self, key: str) -> Person:
        return _known(self.directory.deleted.get(key), key)


def _known(found: T | None, key: str) -> T:
    if found is None:
        raise not_found(key)
    return found
