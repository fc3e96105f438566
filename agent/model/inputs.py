"""What a plan is computed from: the listing, what the state remembers, and the snapshots of the sources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime
from functools import cached_property
from typing import NamedTuple

from agent.model.codes import Kind
from connectors.base import LookupResult, PersonKey, Snapshot, light_dataclass

__all__ = [
    "GroupRef",
    "GroupSighting",
    "Inputs",
    "LastSeen",
    "Link",
    "Listing",
    "Member",
    "Memory",
    "UnconfirmedCreate",
    "UndoneChange",
    "Written",
]


@light_dataclass
class Member:
    """An account in a workspace's listing.

    *email* is its `userName`, empty when the row has none. *active* is None when the row has no readable value:
    then nothing is concluded. *formatted* is `name.formatted`, None where the listing does not show it.
    *resource* is the JSON object as it was read: a full PUT is built on it. *etag* is `meta.version` or empty.
    """

    scim_id: str
    email: str
    display_name: str
    active: bool | None
    _: KW_ONLY
    formatted: str | None = None
    resource: bytes = field(default=b"{}", compare=False, repr=False)
    etag: str = field(default="", compare=False)


# No slots, for the property.
@dataclass(frozen=True)
class Listing:
    """All members of a workspace, inactive ones too: complete, each SCIM id once. *page_count* is what it cost."""

    members: tuple[Member, ...]
    page_count: int = 0

    @cached_property
    def by_id(self) -> dict[str, Member]:
        """The members by SCIM id, made once for all who look for some of them."""
        return {member.scim_id: member for member in self.members}


class GroupRef(NamedTuple):
    id: str
    name: str


@light_dataclass
class Link:
    """Our memory that a member belongs to a person.

    *groups* are those that gave the assignment when the person was last seen entitled, so that a later absence has a
    reason. *missed_reads* counts the complete reads of enforcing runs in a row in which the person was not assigned.
    """

    person: PersonKey
    scim_id: str
    groups: tuple[GroupRef, ...] = ()
    missed_reads: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class UnconfirmedCreate:
    """A create that was sent and has an unknown outcome.

    *run_id* and *seq* name it in the journal. *scim_id* is the member that a listing showed for it, None when none did.
    *is_awaited*: the workspace accepted it, so that its member may appear yet and must not be created again.
    *may_appear*: accepted or not, too few complete listings were read since to be sure that it made none. *groups* gave
    the assignment when it was sent.
    """

    person: PersonKey
    email: str
    display_name: str
    run_id: str = ""
    seq: int = 0
    scim_id: str | None = None
    is_awaited: bool = False
    may_appear: bool = False
    groups: tuple[GroupRef, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoneChange:
    """A change that an undo put back, with what the source showed when it was made.

    *person* is None for an unmanaged member. *code* and *groups* (ids, sorted) are those of the change, *email* is the
    person's address at the source, normalized, empty if not known, and *display_name* the name that was given.
    *run_id* is the undo's, empty before it starts.
    """

    scim_id: str
    kind: Kind
    person: PersonKey | None
    code: str
    groups: tuple[str, ...]
    email: str
    display_name: str
    run_id: str = ""


@light_dataclass
class LastSeen:
    """A member as our last run left it, with the linked person and the groups that gave the access.

    *active* is None when the run could not read it, or does not know the outcome of its own change.
    """

    scim_id: str
    email: str
    display_name: str
    active: bool | None
    person: PersonKey | None = None
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What one change of ours set of a member, or may have set.

    *email*, *display_name* and *active* are None where it did not touch them. *sent_at* and *seq* are its place among
    the others. *is_sure*: the workspace showed it. *is_recent*: it was sent within 24 hours. *is_after_left*: it was
    sent after `Memory.left` was taken, by a run that did not come to its end or has not yet.
    """

    scim_id: str
    email: str | None
    display_name: str | None
    active: bool | None
    sent_at: datetime
    seq: int
    is_sure: bool = True
    is_recent: bool = True
    is_after_left: bool = False


@dataclass(frozen=True, slots=True)
class Memory:
    """What the state remembers of one workspace when a plan is made.

    *possible_renames* are the (person, SCIM id) pairs that were held by row 12 and have not been cleared;
    *different_people* are those of which an operator recorded that the member is not the person's.
    *unconfirmed_creates* are creates in flight when a process died, or without an answer, in the order of
    sending. Their members may exist without a link, or as a second member of their person. *last_seen* are the
    members as the last run left them, None before the first run. Where *new_ids* is not None, it has the listed
    members that the last run did not leave, and *last_seen* lacks those that the listing shows as it left them: nearly
    all. *undone_changes* are changes that an undo put back and
    that no plan may repeat meanwhile. *written* are our changes of the last 24 hours and those after *last_seen*, so
    that they are not taken for another's. *canary_ids* are members that probes created and that belong to no person.
    """

    links: tuple[Link, ...] = ()
    _: KW_ONLY
    possible_renames: frozenset[tuple[PersonKey, str]] = frozenset()
    different_people: frozenset[tuple[PersonKey, str]] = frozenset()
    unconfirmed_creates: tuple[UnconfirmedCreate, ...] = ()
    last_seen: tuple[LastSeen, ...] | None = None
    new_ids: frozenset[str] | None = None
    undone_changes: tuple[UndoneChange, ...] = ()
    written: tuple[Written, ...] = ()
    canary_ids: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class GroupSighting:
    """A counted group as enforcing runs read it.

    *people* is its size when it last had people, counted for the application *app* (empty: not known). *empty_since*
    is when a run first read it empty after that; None: it has people.
    """

    name: str
    people: int
    app: str = ""
    empty_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything a plan is computed from. It exists only when every read was complete.

    *leaver_status* is what lookups by id show of leavers, with those of their groups that the workspace counts. It
    gives reasons, and holds leavers that a counted group still shows; without it every leaver is still decided.
    """

    snapshots: tuple[Snapshot, ...]
    listing: Listing
    memory: Memory = Memory()
    leaver_status: Mapping[PersonKey, LookupResult] = field(default_factory=dict)
