"""Compute the changes that undo one run, from the journal and a listing. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

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
    UndoneChange,
)
from agent.model.change import adopt_change
from agent.model.codes import HoldCode, NoteCode, undo_code
from agent.model.email import normalize
from agent.model.policy import protected_pattern
from agent.model.run import ChangeRecord, Outcome
from connectors.base import PersonKey

__all__ = ["compute_undo"]

# A change without a known answer may have been made: the listing shows it.
POSSIBLY_APPLIED = frozenset({Outcome.DONE, Outcome.UNKNOWN, Outcome.NOT_PERSISTED})


KIND_NOUNS = {
    Kind.CREATE: "create",
    Kind.DEACTIVATE: "deactivation",
    Kind.REACTIVATE: "reactivation",
    Kind.UPDATE_EMAIL: "email change",
    Kind.UPDATE_NAME: "name change",
}


@dataclass(slots=True)
class UndoBuilder:
    """An undo under construction. *links* are the SCIM ids of people's members.

    *scim_id_by_email* maps the normalized addresses, as the changes so far leave them, to SCIM ids. *freed_emails* maps
    an address to the member that gives it up in this plan.
    """

    members: dict[str, Member]
    links: dict[PersonKey, str]
    scim_id_by_email: dict[str, str]
    freed_emails: dict[str, str] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    holds: list[Hold] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)


def compute_undo(records: Sequence[ChangeRecord], listing: Listing, memory: Memory, policy: Policy) -> Plan:
    """Return the plan that undoes *records*, the last change first.

    A member that has been changed since is left as it is and named in a note (`changed-since`). A created member is
    deactivated, and its link ends once that is done; so is one that a create met and reactivated. Of one that a create
    met active only the link ends. All other links stay. An address that the run freed and another member has now is
    not taken back (hold `email-taken`).
    """
    members = listing.by_id
    emails = {normalize(member.email): member.scim_id for member in listing.members if member.email}
    builder = UndoBuilder(members, {link.person: link.scim_id for link in memory.links}, emails)
    protected = protected_pattern(policy.protect)
    for record in sorted(records, key=lambda each: each.seq, reverse=True):
        member = members.get(record.scim_id or "")
        if record.outcome not in POSSIBLY_APPLIED or record.change.kind is Kind.ADOPT:
            continue
        if member is None:
            builder.notes.append(
                Note(NoteCode.CHANGED_SINCE, record.change.email, "The member is no longer in the listing.")
            )
        elif protected.match(normalize(member.email)):
            builder.notes.append(Note(NoteCode.PROTECTED, member.email, "The member is protected: nothing is changed."))
        else:
            _add_reversal(builder, record, member)
    active = sum(member.active is True for member in listing.members)
    ours = [members[link.scim_id] for link in memory.links if link.scim_id in members]
    guarded = sum(member.active is True for member in ours)
    return Plan(
        workspace=policy.workspace,
        mode=policy.mode,
        sources=(),
        members=MemberCounts(total=len(members), active=active, linked=len(ours), guarded=guarded),
        in_sync=0,
        changes=tuple(_in_apply_order(builder.changes)),
        holds=tuple(sorted(builder.holds, key=lambda hold: (normalize(hold.email), hold.scim_id or ""))),
        notes=tuple(sorted(builder.notes, key=lambda note: (note.code, normalize(note.email), note.reason))),
        possible_renames=memory.possible_renames,
        undone_changes=memory.undone_changes,
    )


def _in_apply_order(changes: Iterable[Change]) -> list[Change]:
    """Leavers first, then emails in the order in which they become free, then the rest."""
    ranks = {Kind.ADOPT: 0, Kind.DEACTIVATE: 0, Kind.UPDATE_EMAIL: 1, Kind.REACTIVATE: 2, Kind.UPDATE_NAME: 3}
    return sorted(changes, key=lambda change: 1 if change.changes_email else ranks[change.kind])


def _is_as_changed(member: Member, change: Change) -> bool:
    """Return whether the member still is as the change left it."""
    after = change.after
    return (
        (after.email is None or normalize(after.email) == normalize(member.email))
        and (after.display_name is None or after.display_name == member.display_name)
        and (after.active is None or after.active is member.active)
    )


def _add_reversal(builder: UndoBuilder, record: ChangeRecord, member: Member) -> None:
    change = record.change
    if change.kind is Kind.CREATE and change.before.active:
        _unlink(builder, change, member)
        return
    if not _is_as_changed(member, change):
        reason = f"{member.display_name or member.email} was changed by someone else after the run."
        builder.notes.append(Note(NoteCode.CHANGED_SINCE, member.email, reason))
        return
    is_new = change.kind is Kind.CREATE
    back = Fields(active=False) if is_new else change.before
    current = Fields(active=True) if is_new else change.after
    noun = KIND_NOUNS[change.kind]
    undone = Change(
        kind=_reverse_kind(change),
        email=back.email or member.email,
        display_name=back.display_name if back.display_name is not None else member.display_name,
        scim_id=member.scim_id,
        person=change.person,
        before=current,
        after=back,
        code=undo_code(change.kind),
        reason=f"Undoes the {noun} of {record.sent_at:%Y-%m-%d %H:%M} UTC. Reason then: {change.reason}",
        undone_change=_undone_change(change, member),
    )
    if undone.changes_email:
        _restore_email(builder, undone, member)
    else:
        builder.changes.append(undone)


def _unlink(builder: UndoBuilder, change: Change, member: Member) -> None:
    """End the link of a member that the run was to create, met active and left as it was. Nothing is sent."""
    who = member.display_name or member.email
    if change.person is None or builder.links.get(change.person) != member.scim_id:
        reason = f"{who} existed before the run, which only linked them, and that link no longer exists."
        builder.notes.append(Note(NoteCode.CHANGED_SINCE, member.email, reason))
        return
    reason = (
        f"{who} existed before the run, which only linked them: the link ends, and nothing is sent. {change.reason}"
    )
    unlinked = adopt_change(member, change.person, undo_code(change.kind), reason)
    builder.changes.append(replace(unlinked, undone_change=_undone_change(change, member)))


def _undone_change(change: Change, member: Member) -> UndoneChange:
    groups = tuple(sorted({group.id for group in change.group_refs}))
    # A leaver's address at the source may be another than the member's, which a deactivation has.
    email = "" if change.kind is Kind.DEACTIVATE else normalize(change.email)
    return UndoneChange(
        scim_id=member.scim_id,
        kind=change.kind,
        person=change.person,
        code=change.code,
        groups=groups,
        email=email,
        display_name=change.display_name,
    )


def _reverse_kind(change: Change) -> Kind:
    match change.kind:
        case Kind.DEACTIVATE:
            return Kind.REACTIVATE
        case Kind.REACTIVATE | Kind.CREATE:
            return Kind.DEACTIVATE
        case _:
            return change.kind


def _restore_email(builder: UndoBuilder, undone: Change, member: Member) -> None:
    wanted, present = normalize(undone.email), normalize(member.email)
    if builder.scim_id_by_email.get(wanted, member.scim_id) != member.scim_id:
        holder = builder.members[builder.scim_id_by_email[wanted]]
        builder.holds.append(
            Hold(
                kind=undone.kind,
                code=HoldCode.EMAIL_TAKEN,
                email=member.email,
                reason=f"{undone.email} now belongs to {holder.display_name or holder.scim_id}.",
                remedy="Give that member another email first, or leave this one as it is.",
                wanted=undone.email,
                scim_id=member.scim_id,
                person=undone.person,
            )
        )
        return
    builder.scim_id_by_email[wanted] = member.scim_id
    builder.scim_id_by_email.pop(present, None)
    builder.freed_emails[present] = member.scim_id
    waits_for = builder.freed_emails.get(wanted)
    builder.changes.append(undone if waits_for == member.scim_id else replace(undone, waits_for=waits_for))
