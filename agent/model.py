"""The words of the agent: member, listing, link, policy, change, hold, note, plan. Values only, no I/O.

Words about people at the source (person, group, snapshot) are in `connectors.base`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from connectors.base import PersonKey, Snapshot, Source, Status

__all__ = [
    "NO_FIELDS",
    "Change",
    "Fields",
    "GroupRef",
    "Guard",
    "Hold",
    "Individual",
    "Kind",
    "Left",
    "Limits",
    "Link",
    "Listing",
    "Member",
    "MemberCounts",
    "Memory",
    "Mode",
    "Note",
    "Plan",
    "Policy",
    "Reads",
    "Recent",
    "SourceCounts",
    "Toggles",
    "Unmanaged",
    "Unplanned",
    "Unsettled",
]


class Kind(StrEnum):
    """What a change does, in the order in which changes are applied (design section 7)."""

    ADOPT = "adopt"
    DEACTIVATE = "deactivate"
    UPDATE_EMAIL = "update-email"
    REACTIVATE = "reactivate"
    UPDATE_NAME = "update-name"
    CREATE = "create"


class Mode(StrEnum):
    DRY_RUN = "dry-run"
    ENFORCE = "enforce"


class Unmanaged(StrEnum):
    REPORT = "report"
    DEACTIVATE = "deactivate"


class Individual(StrEnum):
    """What an individual assignment is taken for (design, row 16)."""

    HOLD = "hold"
    INCLUDE = "include"
    IGNORE = "ignore"


@dataclass(frozen=True, slots=True)
class Member:
    """An account in a workspace's listing.

    *email* is its `userName`, empty when the row has none. *active* is None when the row does not say it in a way that
    can be read: then nothing is concluded. *formatted* is `name.formatted`, None where the listing does not show it.
    *resource* is the JSON object as it was read, which a full PUT is built on; *etag* is `meta.version` or empty.
    """

    scim_id: str
    email: str
    display_name: str
    active: bool | None
    formatted: str | None = None
    resource: bytes = field(default=b"{}", compare=False, repr=False)
    etag: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Listing:
    """All members of a workspace, inactive ones too: complete, each SCIM id once. *pages* is what it cost."""

    members: tuple[Member, ...]
    pages: int = 0


class GroupRef(NamedTuple):
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Link:
    """Our memory that a member belongs to a person.

    *groups* are those that gave the assignment when the person was last seen entitled, so that a later absence has a
    reason. *missed_reads* counts the complete reads of enforcing runs in a row in which the person was not assigned.
    """

    person: PersonKey
    scim_id: str
    groups: tuple[GroupRef, ...] = ()
    missed_reads: int = 0


@dataclass(frozen=True, slots=True)
class Unsettled:
    """A create that was sent for a person who has no link, and that nobody knows whether it was made."""

    person: PersonKey
    email: str
    display_name: str


@dataclass(frozen=True, slots=True)
class Left:
    """A member as our last run left it, with whom it was linked to and through which groups.

    *active* is None where the run could not tell, or does not know what became of its own change.
    """

    scim_id: str
    email: str
    display_name: str
    active: bool | None
    person: PersonKey | None = None
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Memory:
    """What the state remembers of one workspace when a plan is made.

    *possible_renames* are the (person, SCIM id) pairs that were held by row 12 and have not been cleared. *unsettled*
    are creates in flight when a process died, or whose answer was lost: their members may be there without a link.
    *left* are the members as the last run left them, None when there was none.
    """

    links: tuple[Link, ...] = ()
    possible_renames: frozenset[tuple[PersonKey, str]] = frozenset()
    unsettled: tuple[Unsettled, ...] = ()
    left: tuple[Left, ...] | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """Guards that count (design section 6). Percentages are of active members that are linked or adopted."""

    max_deactivations: int = 25
    max_deactivations_percent: float = 10
    max_creates: int | None = None
    max_email_changes: int = 25


@dataclass(frozen=True, slots=True)
class Toggles:
    """Which kinds may be applied at all: *create* rules create and reactivate, *update* names and emails."""

    create: bool = True
    update: bool = True
    deactivate: bool = True


@dataclass(frozen=True, slots=True)
class Policy:
    """How one workspace is to be planned. *sources* stand in the order of the file, which decides between them.

    *allowed_domains* are folded; empty allows all. *protect* are globs over whole addresses.
    """

    workspace: str
    sources: tuple[Source, ...]
    allowed_domains: frozenset[str] = frozenset()
    mode: Mode = Mode.DRY_RUN
    protect: tuple[str, ...] = ()
    unmanaged: Unmanaged = Unmanaged.REPORT
    individual_assignments: Individual = Individual.HOLD
    grace_reads: int = 1
    limits: Limits = Limits()
    require_approval: frozenset[Kind] = frozenset()
    toggles: Toggles = Toggles()


@dataclass(frozen=True, slots=True)
class Reads:
    """Everything a plan is computed from. A `Reads` exists only when every read in it was complete.

    *whereabouts* is what `Connector.lookup` said of leavers; it gives reasons and decides nothing.
    """

    snapshots: tuple[Snapshot, ...]
    listing: Listing
    memory: Memory = Memory()
    whereabouts: Mapping[PersonKey, Status] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields of a member that a change touches; None: not touched."""

    email: str | None = None
    display_name: str | None = None
    active: bool | None = None


NO_FIELDS = Fields()


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that would be done to one member, with its reason.

    *email* and *display_name* are those the member has afterwards. *person* is None only for the deactivation of an
    unmanaged member. *groups* are names and *group_refs* the same with ids: those that give the assignment, or for a
    deactivation those that were left. *waits_for* is the SCIM id of the member that must move away first.
    *given_name* and *family_name* are sent with a create, and are empty otherwise.
    """

    kind: Kind
    email: str
    display_name: str
    scim_id: str | None
    person: PersonKey | None
    before: Fields
    after: Fields
    code: str
    reason: str
    group_refs: tuple[GroupRef, ...] = ()
    waits_for: str | None = None
    given_name: str = ""
    family_name: str = ""

    @property
    def groups(self) -> tuple[str, ...]:
        return tuple(sorted({group.name for group in self.group_refs}))

    @property
    def changes_email(self) -> bool:
        return self.before.email is not None and self.after.email is not None


@dataclass(frozen=True, slots=True)
class Hold:
    """A change that is not made until a human or a later run clears the reason.

    *email* is the member's present one, or the wanted one where there is no member; *wanted* the new one, if any.
    *change* is what an approval would release; None: an approval does not release this hold.
    """

    kind: Kind
    code: str
    email: str
    reason: str
    remedy: str
    wanted: str | None = None
    scim_id: str | None = None
    person: PersonKey | None = None
    change: Change | None = None


@dataclass(frozen=True, slots=True)
class Note:
    code: str
    email: str
    reason: str


@dataclass(frozen=True, slots=True)
class SourceCounts:
    """A source as the plan document shows it; *groups* are (id, name, people)."""

    connector: str
    app: str
    people: int
    entitled: int
    groups: tuple[tuple[str, str, int], ...]
    individual: int


@dataclass(frozen=True, slots=True)
class MemberCounts:
    """*linked* is before the plan; *guarded* counts active members linked or adopted here, what percentages are of."""

    total: int
    active: int
    linked: int
    guarded: int


@dataclass(frozen=True, slots=True)
class Recent:
    """What was applied within the last 60 minutes: counts by kind (email changes: by `Change.changes_email`)."""

    deactivations: int = 0
    creates: int = 0
    email_changes: int = 0


@dataclass(frozen=True, slots=True)
class Guard:
    """A guard that tripped, with its live numbers. It stands outside the digest: the numbers move with the clock.

    *count* is of this plan and *recent* of the last 60 minutes; *limit* says in words what they exceed. *affected* are
    the emails of all whom it holds.
    """

    code: str
    count: int
    recent: int
    limit: str
    message: str
    affected: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be done to one workspace, and what is held: a value that nothing alters.

    Changes stand in the order of applying. *seen* are links whose groups or missed reads are to be remembered,
    *possible_renames* the pairs to remember, both by an enforcing run only and outside the digest.
    """

    workspace: str
    mode: Mode
    sources: tuple[SourceCounts, ...]
    members: MemberCounts
    in_sync: int
    changes: tuple[Change, ...]
    holds: tuple[Hold, ...]
    notes: tuple[Note, ...]
    guards: tuple[Guard, ...] = ()
    seen: tuple[Link, ...] = ()
    possible_renames: frozenset[tuple[PersonKey, str]] = frozenset()


@dataclass(frozen=True, slots=True)
class Unplanned:
    """A workspace that could not be planned, with the error as the plan document shows it.

    *status*: `incomplete`, `credentials` or `busy`.
    """

    workspace: str
    mode: Mode
    status: str
    code: str
    message: str
    remedy: str
