"""The pretend tenant: its directory, its clients, their permissions and limits."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from sandbox.company import App, Directory, Group, Person
from sandbox.company.events import EventLog, Happening
from sandbox.entra.delta import DeltaLog
from sandbox.entra.errors import GraphError, not_found
from sandbox.entra.replica import LaggingReplica
from sandbox.entra.token import Client, TokenIssuer

__all__ = ["ALL_ROLES", "EntraOptions", "EntraTenant"]

T = TypeVar("T")

ALL_ROLES = frozenset({"Application.Read.All", "GroupMember.Read.All", "User.Read.All"})
DIRECTORY_READ_ALL = "Directory.Read.All"


@dataclass(frozen=True, slots=True)
class EntraOptions:
    """How the tenant behaves. *page_size* holds without `$top`, *largest_page* is the largest `$top`.

    *units* per *seconds* are the resource units of one application; None: no limit. *is_assignment_required* is the
    service principal's `appRoleAssignmentRequired`.
    *replica_seconds*: every other read of a person or of their groups is that of a replica so far behind, which lacks
    the happenings *replica_lacks*.
    """

    page_size: int = 100
    largest_page: int = 999
    units: int | None = 5000
    seconds: float = 10.0
    is_assignment_required: bool = True
    replica_seconds: float = 0.0
    replica_lacks: frozenset[Happening] = frozenset(Happening)


DEFAULT_OPTIONS = EntraOptions()


class EntraTenant:
    """One tenant. *roles* (the granted application permissions) and *options* may be changed at any time; tokens
    carry the roles at the time of issue. The object id of a service principal is the app's id."""

    def __init__(
        self,
        directory: Directory,
        tenant_id: str,
        clients: Iterable[Client],
        options: EntraOptions = DEFAULT_OPTIONS,
        now: Callable[[], float] = time.time,
        happenings: EventLog | None = None,
    ) -> None:
        self.directory = directory
        self.tenant_id = tenant_id
        self.options = options
        self.now = now
        self.token_issuer = TokenIssuer(tenant_id, {client.client_id: client for client in clients}, now)
        self.token_issuer.roles = ALL_ROLES
        log = happenings or EventLog(now)
        self.delta_log = DeltaLog(directory, log)
        self._replica = LaggingReplica(directory, log)
        self._turns: Counter[str] = Counter()
        self.request_count = 0
        self._window_start = float("-inf")
        self._used = 0

    @property
    def roles(self) -> frozenset[str]:
        return self.token_issuer.roles

    @roles.setter
    def roles(self, roles: Iterable[str]) -> None:
        self.token_issuer.roles = frozenset(roles)

    def consume_units(self, units: int) -> float:
        """Count resource units and return the share of the budget that is used. Raise `GraphError` 429."""
        self.request_count += 1
        if self.options.units is None:
            return 0.0
        now = self.now()
        if now >= self._window_start + self.options.seconds:
            self._window_start, self._used = now, 0
        if self._used + units > self.options.units:
            wait = str(max(1, round(self._window_start + self.options.seconds - now)))
            scope = f"Tenant_Application/Read/sandbox/{self.tenant_id}"
            headers = {"Retry-After": wait, "x-ms-throttle-scope": scope}
            headers["x-ms-throttle-information"] = "ResourceUnitLimitExceeded"
            raise GraphError(429, "TooManyRequests", "Too many requests.", headers)
        self._used += units
        return self._used / self.options.units

    def app(self, key: str) -> App:
        return _require_found(self.directory.apps.get(key), key)

    def app_by_client_id(self, client_id: str) -> App:
        found = (app for app in list(self.directory.apps.values()) if app.client_id == client_id)
        return _require_found(next(found, None), client_id)

    def group(self, key: str) -> Group:
        return _require_found(self.directory.groups.get(key), key)

    def person(self, key: str) -> Person:
        return _require_found(self.directory.person(key), key)

    def read_person(self, key: str) -> Person:
        """Return a person as the replica whose turn it is shows them. Raises `GraphError`."""
        if not self._is_behind(f"users/{key}"):
            return self.person(key)
        options = self.options
        return _require_found(self._replica.person(key, options.replica_seconds, options.replica_lacks), key)

    def read_groups_of(self, key: str) -> list[Group]:
        """Return a person's direct groups as the replica whose turn it is shows them. Raises `GraphError`."""
        person, options = self.person(key), self.options
        if not self._is_behind(f"users/{key}/memberOf"):
            return self.directory.groups_of(person.id)
        return self._replica.groups_of(person.id, options.replica_seconds, options.replica_lacks)

    def _is_behind(self, path: str) -> bool:
        """Take turns between the replicas for each path: the one that is behind comes first."""
        if self.options.replica_seconds <= 0:
            return False
        self._turns[path] += 1
        return self._turns[path] % 2 == 1

    def deleted(self, key: str) -> Person:
        return _require_found(self.directory.deleted.get(key), key)


def _require_found(found: T | None, key: str) -> T:
    if found is None:
        raise not_found(key)
    return found
