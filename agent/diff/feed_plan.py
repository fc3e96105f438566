"""Compute what a feed run does: deactivate linked members whose people provably left. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agent.diff.messages import format_groups, member_label
from agent.model import Change, Link, Member, MemberCounts, Memory, Note, Plan, Policy
from agent.model.change import deactivate_change
from agent.model.codes import ChangeCode, NoteCode
from agent.model.email import normalize
from agent.model.feed import NamedPerson
from agent.model.policy import protected_pattern
from connectors.base import LookupResult, Status

__all__ = ["FeedLeaver", "compute_feed_plan"]


@dataclass(frozen=True, slots=True)
class FeedLeaver:
    """A person who provably left, and their linked member as it was just read by its id."""

    named: NamedPerson
    link: Link
    member: Member
    found: LookupResult


def compute_feed_plan(leavers: Sequence[FeedLeaver], memory: Memory, policy: Policy, guarded: int) -> Plan:
    """Return the plan before any guard. *guarded* are the active linked members, which percentages are of.

    What a run over everyone would decide otherwise is left to it: a second member that an unconfirmed create may have
    made, and a link that has changed.
    """
    protected = protected_pattern(policy.protect)
    unconfirmed = {each.person for each in memory.unconfirmed_creates}
    links = {link.person: link for link in memory.links}
    changes: list[Change] = []
    notes: list[Note] = []
    in_sync = 0
    for each in leavers:
        member, person = each.member, each.named.person
        if links.get(person) != each.link or person in unconfirmed:
            continue
        if member.active is False:
            in_sync += 1
        elif protected.fullmatch(normalize(member.email)):
            reason = f"{member_label(member)} is protected: the member stays active."
            notes.append(Note(NoteCode.PROTECTED, member.email, reason))
        elif member.active is None:
            reason = f"The workspace shows no readable active status for {member_label(member)}: no change."
            notes.append(Note(NoteCode.UNREADABLE_MEMBER, member.email, reason))
        else:
            code, why = _reason(each)
            changes.append(
                deactivate_change(member, person, code, f"{why} {_event_phrase(each.named)}", each.link.groups)
            )
    changes.sort(key=lambda change: (normalize(change.email), change.scim_id or ""))
    return Plan(
        workspace=policy.workspace,
        mode=policy.mode,
        sources=(),
        members=MemberCounts(
            total=len(leavers),
            active=sum(each.member.active is True for each in leavers),
            linked=len(memory.links),
            guarded=guarded,
        ),
        in_sync=in_sync,
        changes=tuple(changes),
        holds=(),
        notes=tuple(sorted(notes, key=lambda note: (note.code, normalize(note.email), note.reason))),
        possible_renames=memory.possible_renames,
        undone_changes=memory.undone_changes,
    )


def _reason(leaver: FeedLeaver) -> tuple[ChangeCode, str]:
    who, connector, found = member_label(leaver.member), leaver.named.person.connector, leaver.found
    if found.status is Status.DELETED:
        return ChangeCode.DELETED, f"{who} was deleted in {connector}."
    if found.status is Status.SUSPENDED:
        word = f" ({found.source_status})" if found.source_status else ""
        return ChangeCode.SUSPENDED, f"{who} is not active in {connector}{word}."
    if leaver.link.groups:
        return ChangeCode.LEFT_GROUPS, f"{who} left {format_groups(leaver.link.groups)} in {connector}."
    return ChangeCode.NO_LONGER_ASSIGNED, f"{who} is not assigned in {connector} any more."


def _event_phrase(named: NamedPerson) -> str:
    """Return which event named the person, for the journal."""
    at = "" if named.event_at is None else f" of {named.event_at:%Y-%m-%d %H:%M:%S} UTC"
    return f"Event {named.event_id} ({named.word}){at} named them."
