"""One Pigment workspace as `probe` uses it: single requests, whatever their status."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from agent.model import Member
from agent.model.server_facts import AS_ASSUMED, ServerFacts
from agent.ports.workspace import WorkspaceReader, WorkspaceWriter
from connectors.base import Permit

__all__ = ["PatchOperation", "ProbeAnswer", "ProbeClient", "ProbePage", "ProbeRequests"]

PatchOperation = tuple[str, str, object]
"""Its `op`, `path` and `value`."""


@dataclass(frozen=True, slots=True)
class ProbeAnswer:
    """The answer to one request about a member. *member* is None when the body has none.

    *resource* is the JSON object of the body, empty when it has none.
    """

    status: int
    scim_type: str
    member: Member | None
    resource: Mapping[str, object]
    has_byte_order_mark: bool = False

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class ProbePage:
    """The answer to one request for a list. *total* is None where `totalResults` is not a JSON number."""

    status: int
    members: tuple[Member, ...] = ()
    row_count: int = 0
    total: int | None = None
    has_cursor: bool = False


class ProbeRequests(Protocol):
    """Sends one request at a time, retried within the limits. An answer of any status is returned, not raised.

    Raises `connectors.base.ReadError` and `agent.errors.WriteError` when there is no answer that shows anything.
    """

    async def get(self, scim_id: str) -> ProbeAnswer: ...

    async def fetch_page(self, start: int, count: int) -> ProbePage: ...

    async def filter(self, attribute: str, value: str) -> ProbePage:
        """GET the members whose *attribute* equals *value*."""
        ...

    async def get_groups(self) -> int:
        """Return the status of a GET of `/Groups`."""
        ...

    async def create(self, email: str, display_name: str, given_name: str, family_name: str) -> ProbeAnswer:
        """POST an active member, as runs do."""
        ...

    async def replace(
        self,
        member: Member,
        *,
        email: str | None = None,
        active: bool | Literal["omitted"],
        extra: Mapping[str, object] | None = None,
    ) -> ProbeAnswer:
        """PUT *member* as it was read, with the given attributes replaced."""
        ...

    async def patch(self, scim_id: str, operations: Sequence[PatchOperation]) -> ProbeAnswer: ...


class ProbeClient(WorkspaceReader, Protocol):
    """Reads one workspace, and is the only way to single requests."""

    def writer_for(self, permit: Permit, facts: ServerFacts = AS_ASSUMED) -> WorkspaceWriter: ...

    def probe_requests_for(self, permit: Permit) -> ProbeRequests:
        """Return what sends single requests, none that writes once *permit* has ended."""
        ...
