"""The entries of a plan: changes, holds and notes."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from agent.model.codes import ChangeCode, Kind
from agent.model.inputs import GroupRef, Member, UndoneChange
from connectors.base import PersonKey

__all__ = [
    "NO_FIELDS",
    "Change",
    "Fields",
    "Hold",
    "Kind",
    "Note",
    "adopt_change",
    "deactivate_change",
]


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields of a member that a change touches; None: not touched."""

    email: str | None = None
    display_name: str | None = None
    active: bool | None = None


NO_FIELDS = Fields()


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One thing that would be done to one member, with its reason.

    *email* and *display_name* are those the member has afterwards. *person* is None only for the deactivation of an
    unmanaged member. *groups* are names and *group_refs* the same with ids: those that give the assignment, or for a
    deactivation those that were left. *waits_for* is the SCIM id of the member that must move away first. *given_name*
    and *family_name* are sent with a create, and are empty otherwise. *undone_change* is what an undo puts back with
    it; the journal does not keep it.
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
    undone_change: UndoneChange | None = field(default=None, compare=False, repr=False)

    @property
    def groups(self) -> tuple[str, ...]:
        return tuple(sorted({group.name for group in self.group_refs}))

    @property
    def changes_email(self) -> bool:
        return self.before.email is not None and self.after.email is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A change that is not made until a human or a later run clears the reason.

    *email* is the member's current one, or the wanted one if no member exists; *wanted* the new one, if any.
    *change* is what an approval would release; None: an approval does not release this hold. *guards* are the codes of
    all guards that hold it, sorted: an approval releases it once all of them are approved. *since* is when a run first
    planned this hold, and every one after it too; None: not known. It makes no difference between two holds.
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
    guards: tuple[str, ...] = ()
    since: datetime | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Note:
    code: str
    email: str
    reason: str


def adopt_change(
    member: Member, person: PersonKey, code: ChangeCode, reason: str, groups: tuple[GroupRef, ...] = ()
) -> Change:
    """Return the change that links *member* to *person*; nothing is sent."""
    return Change(
        kind=Kind.ADOPT,
        email=member.email,
        display_name=member.display_name,
        scim_id=member.scim_id,
        person=person,
        before=NO_FIELDS,
        after=NO_FIELDS,
        code=code,
        reason=reason,
        group_refs=groups,
    )


def deactivate_change(
    member: Member, person: PersonKey | None, code: ChangeCode, reason: str, left: tuple[GroupRef, ...] = ()
) -> Change:
    """Return the change that takes access from *member*; *left* are the groups that *person* is no longer in."""
    return Change(
        kind=Kind.DEACTIVATE,
        email=member.email,
        display_name=member.display_name,
        scim_id=member.scim_id,
        person=person,
        before=Fields(active=True),
        after=Fields(active=False),
        code=code,
        reason=reason,
        group_refs=left,
    )
