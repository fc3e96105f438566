"""Compute the changes that put the members of one run back where they were. Pure, from the journal and a listing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from agent.address import folded
from agent.diff.draft import protects
from agent.model import (
    Change,
    Fields,
    Hold,
    Kind,
    Listing,
    Member,
    MemberCounts,
    Memory,
    Note,
    Plan,
    Policy,
    Undone,
)
from agent.ports import ChangeRecord, Outcome
from connectors.base import PersonKey

__all__ = ["compute_undo"]

# A change without a known answer may have been made: the listing tells.
MADE = frozenset({Outcome.DONE, Outcome.UNKNOWN, Outcome.NOT_PERSISTED})


@dataclass(slots=True)
class Reversal:
    """The undo in the making. *links* are the SCIM ids of people's members.

    *emails* are the folded addresses that members have as it goes on, with their SCIM id. *freed* maps an address to
    the member that gives it up in this plan.
    """

    members: dict[str, Member]
    links: dict[PersonKey, str]
    emails: dict[str, str]
    freed: dict[str, str] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    holds: list[Hold] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)


def compute_undo(records: Sequence[ChangeRecord], listing: Listing, memory: Memory, policy: Policy) -> Plan:
    """Return what would put back what *records* did, the last change first.

    A member that has been changed since is left as it is and named in a note (`changed-since`). A created member is
    deactivated, and its link ends once that is done; so is one that a create met and reactivated. Of one that a create
    met active only the link ends. All other links stay. An address that the run freed and another member has now is
    not taken back (hold `email-taken`).
    """
    members = {member.scim_id: member for member in listing.members}
    emails = {folded(member.email): member.scim_id for member in listing.members if member.email}
    making = Reversal(members, {link.person: link.scim_id for link in memory.links}, emails)
    protected = protects(policy.protect)
    for record in sorted(records, key=lambda each: each.seq, reverse=True):
        member = members.get(record.scim_id or "")
        if record.outcome not in MADE or record.change.kind is Kind.ADOPT:
            continue
        if member is None:
            making.notes.append(
                Note("changed-since", record.change.email, "The member is not in the listing any more.")
            )
        elif protected.match(folded(member.email)):
            making.notes.append(Note("protected", member.email, "The member is protected: nothing is changed."))
        else:
            _reverse(making, record.change, member)
    active = sum(member.active is True for member in listing.members)
    ours = [members[link.scim_id] for link in memory.links if link.scim_id in members]
    guarded = sum(member.active is True for member in ours)
    return Plan(
        policy.workspace,
        policy.mode,
        (),
        MemberCounts(len(members), active, len(ours), guarded),
        0,
        tuple(_ordered(making.changes)),
        tuple(sorted(making.holds, key=lambda hold: (folded(hold.email), hold.scim_id or ""))),
        tuple(sorted(making.notes, key=lambda note: (note.code, folded(note.email), note.reason))),
        possible_renames=memory.possible_renames,
        undone=memory.undone,
    )


def _ordered(changes: Iterable[Change]) -> list[Change]:
    """Leavers first, then emails in the order in which they become free, then the rest."""
    ranks = {Kind.ADOPT: 0, Kind.DEACTIVATE: 0, Kind.UPDATE_EMAIL: 1, Kind.REACTIVATE: 2, Kind.UPDATE_NAME: 3}
    return sorted(changes, key=lambda change: 1 if change.changes_email else ranks[change.kind])


def _shows(member: Member, change: Change) -> bool:
    """Tell whether the member still is as the change left it."""
    after = change.after
    return (
        (after.email is None or folded(after.email) == folded(member.email))
        and (after.display_name is None or after.display_name == member.display_name)
        and (after.active is None or after.active is member.active)
    )


def _reverse(making: Reversal, change: Change, member: Member) -> None:
    if change.kind is Kind.CREATE and change.before.active:
        _unlink(making, change, member)
        return
    if not _shows(member, change):
        reason = f"{member.display_name or member.email} is not as the run left them: somebody has changed them since."
        making.notes.append(Note("changed-since", member.email, reason))
        return
    is_new = change.kind is Kind.CREATE
    back = Fields(active=False) if is_new else change.before
    former = Fields(active=True) if is_new else change.after
    undone = Change(
        _kind(change),
        back.email or member.email,
        back.display_name if back.display_name is not None else member.display_name,
        member.scim_id,
        change.person,
        former,
        back,
        f"undo-{change.kind}",
        f"Puts back what the run did: {change.reason}",
        undoes=_undone(change, member),
    )
    if undone.changes_email:
        _move_back(making, undone, member)
    else:
        making.changes.append(undone)


def _unlink(making: Reversal, change: Change, member: Member) -> None:
    """End the link of a member that the run was to create, met active and left as it was. Nothing is sent."""
    who = member.display_name or member.email
    if change.person is None or making.links.get(change.person) != member.scim_id:
        reason = f"{who} existed before the run, which only linked them, and that link has ended since."
        making.notes.append(Note("changed-since", member.email, reason))
        return
    reason = (
        f"{who} existed before the run, which only linked them: the link ends, and nothing is sent. {change.reason}"
    )
    making.changes.append(
        Change(
            Kind.ADOPT,
            member.email,
            member.display_name,
            member.scim_id,
            change.person,
            Fields(),
            Fields(),
            f"undo-{change.kind}",
            reason,
            undoes=_undone(change, member),
        )
    )


def _undone(change: Change, member: Member) -> Undone:
    groups = tuple(sorted({group.id for group in change.group_refs}))
    # A leaver's address at the source may be another than the member's, which a deactivation has.
    email = "" if change.kind is Kind.DEACTIVATE else folded(change.email)
    return Undone(member.scim_id, change.kind, change.person, change.code, groups, email, change.display_name)


def _kind(change: Change) -> Kind:
    match change.kind:
        case Kind.DEACTIVATE:
            return Kind.REACTIVATE
        case Kind.REACTIVATE | Kind.CREATE:
            return Kind.DEACTIVATE
        case _:
            return change.kind


def _move_back(making: Reversal, undone: Change, member: Member) -> None:
    wanted, present = folded(undone.email), folded(member.email)
    if making.emails.get(wanted, member.scim_id) != member.scim_id:
        holder = making.members[making.emails[wanted]]
        making.holds.append(
            Hold(
                undone.kind,
                "email-taken",
                member.email,
                f"{undone.email} now belongs to {holder.display_name or holder.scim_id}.",
                "Give that member another email first, or leave this one as it is.",
                undone.email,
                member.scim_id,
                undone.person,
            )
        )
        return
    making.emails[wanted] = member.scim_id
    making.emails.pop(present, None)
    making.freed[present] = member.scim_id
    waits_for = making.freed.get(wanted)
    making.changes.append(undone if waits_for == member.scim_id else replace(undone, waits_for=waits_for))
