"""Note changes since our last run that this agent did not make, and record how a run leaves the members. Pure.

A difference has the code `another-writer` where it looks like another provisioning tool. Then it is what the sources
call for, or it reverts what this agent wrote within 24 hours. Every other difference has the code `drift`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from enum import Enum, auto
from functools import cache
from typing import Protocol

from agent.diff.builder import PlanBuilder
from agent.diff.leavers import would_deactivate
from agent.model import GroupRef, Kind, LastSeen, Link, Member, Memory, Note, Written
from agent.model.codes import NoteCode
from agent.model.email import is_same_name, normalize
from agent.model.run import ChangeRecord, Outcome
from connectors.base import PersonKey

__all__ = ["Difference", "Expectation", "SourceExpectation", "drift_notes", "last_seen_members"]

# After these the state of the member is unknown: a difference at the next run may be our own change.
UNCERTAIN_OUTCOMES = frozenset({Outcome.UNKNOWN, Outcome.NOT_PERSISTED})


class Difference(Enum):
    """Which field of a member differs from how our last run left it."""

    CREATED = auto()
    EMAIL = auto()
    NAME = auto()
    ACTIVE = auto()


class Expectation(Protocol):
    """What a plan expects of members."""

    def call_for(self, difference: Difference, member: Member, /) -> bool:
        """Return whether *difference* is what the sources call for, so that nothing is left to do for *member*."""
        ...


def last_seen_members(
    members: Mapping[str, Member], records: Sequence[ChangeRecord], links: Sequence[Link]
) -> tuple[LastSeen, ...]:
    """Return the members of the listing as a run left them, in the order of their ids."""
    owners = {link.scim_id: link for link in links}
    # Only those that differ from the listing: of many people a second one takes room.
    written = _written_members(members, records)
    # Shared by everyone who has them.
    group_names = cache(_group_names)
    left = []
    for scim_id in sorted({*members, *written}):
        if scim_id in written:
            shown = written[scim_id]
            if shown is None:
                continue
            email, name, active = shown
        else:
            member = members[scim_id]
            email, name, active = member.email, member.display_name, member.active
        link = owners.get(scim_id)
        left.append(
            LastSeen(
                scim_id=scim_id,
                email=email,
                display_name=name,
                active=active,
                person=link.person if link else None,
                groups=group_names(link.groups) if link else (),
            )
        )
    return tuple(left)


def _group_names(groups: tuple[GroupRef, ...]) -> tuple[str, ...]:
    return tuple(sorted({group.name for group in groups}))


def _written_members(
    members: Mapping[str, Member], records: Sequence[ChangeRecord]
) -> dict[str, tuple[str, str, bool | None] | None]:
    """Return email, name and state of the members that *records* are about, None for one that has a new id."""
    written: dict[str, tuple[str, str, bool | None] | None] = {}

    def shown(scim_id: str) -> tuple[str, str, bool | None] | None:
        if scim_id in written:
            return written[scim_id]
        member = members.get(scim_id)
        return None if member is None else (member.email, member.display_name, member.active)

    for record in records:
        change, scim_id = record.change, record.scim_id
        if change.kind is Kind.ADOPT or scim_id is None:
            continue
        before = shown(scim_id)
        if before is None and change.kind is not Kind.CREATE and change.scim_id:  # it answered under a new id
            before = shown(change.scim_id)
            written[change.scim_id] = None
        email, name, active = before or (change.email, change.display_name, True)
        if record.outcome is Outcome.DONE:
            after = change.after
            name = name if after.display_name is None else after.display_name
            active = active if after.active is None else after.active
            written[scim_id] = (after.email or email, name, active)
        elif record.outcome in UNCERTAIN_OUTCOMES:
            written[scim_id] = (email, name, None)
    return written


def drift_notes(
    memory: Memory, members: Mapping[str, Member], settled: frozenset[str], expected: Expectation
) -> Iterator[Note]:
    """Yield a note for each difference from how our last run left the members; nothing when there was no run.

    *settled* are members that unconfirmed creates made.
    """
    if memory.last_seen is None:
        return
    written: dict[str, list[Written]] = {}
    for each in sorted(memory.written, key=lambda each: (each.sent_at, each.seq)):
        written.setdefault(each.scim_id, []).append(each)
    previous = {each.scim_id: each for each in memory.last_seen}
    # What a probe does to its own canary is neither drift nor another writer.
    canaries = memory.canary_ids
    # Nothing differs of nearly all members: only the others are looked at.
    looked_at = members.keys() if memory.new_ids is None else members.keys() & {*previous, *written, *memory.new_ids}
    for scim_id in sorted(looked_at - canaries):
        member, ours = members[scim_id], written.get(scim_id, ())
        was = _after(_last_seen(memory, previous, member), ours)
        if was is not None:
            yield from _changed_member_notes(was, member, ours, expected)
        elif scim_id not in settled and not ours:
            is_called_for = expected.call_for(Difference.CREATED, member)
            yield _drift_note(member.email, member.display_name, "was created", AS_SOURCES if is_called_for else "")
    for scim_id, was in previous.items():
        if scim_id not in members and scim_id not in canaries:
            yield _drift_note(was.email, was.display_name, "disappeared from the listing")


def _last_seen(memory: Memory, previous: Mapping[str, LastSeen], member: Member) -> LastSeen | None:
    """Return how the last run left *member*, of which *previous* lacks what is as listed; None if it did not."""
    if memory.new_ids is None or member.scim_id in previous or member.scim_id in memory.new_ids:
        return previous.get(member.scim_id)
    return LastSeen(member.scim_id, member.email, member.display_name, member.active)


def _after(was: LastSeen | None, ours: Iterable[Written]) -> LastSeen | None:
    """Return how a member was left, including later writes of a run that did not finish."""
    for each in ours:
        if not each.is_after_left:
            continue
        if was is None and (each.email is None or each.display_name is None):
            return None
        was = was or LastSeen(scim_id=each.scim_id, email="", display_name="", active=True)
        was = replace(
            was,
            email=was.email if each.email is None else each.email,
            display_name=was.display_name if each.display_name is None else each.display_name,
            active=was.active if each.active is None else each.active,
        )
        if not each.is_sure:
            return replace(was, active=None)
    return was


def _changed_member_notes(
    was: LastSeen, member: Member, ours: Sequence[Written], expected: Expectation
) -> Iterator[Note]:
    """Yield a note for each field that differs, unless an unconfirmed write of ours may have set it."""
    if was.active is None:
        return
    email, name = normalize(member.email), member.display_name
    if normalize(was.email) != email:
        sent = [(each, normalize(each.email)) for each in ours if each.email is not None]
        if not _may_be_ours(sent, email):
            tail = _tail(Difference.EMAIL, member, sent, (normalize(was.email), email), expected)
            yield _drift_note(member.email, name, f"had the email {was.email}", tail)
    if was.display_name != name:
        names = [(each, each.display_name) for each in ours if each.display_name is not None]
        if not _may_be_ours(names, name):
            # Another spelling of the same name is neither our change nor what a source calls for.
            is_other = not is_same_name(was.display_name, name)
            tail = _tail(Difference.NAME, member, names, (was.display_name, name), expected) if is_other else ""
            yield _drift_note(member.email, name, f"was renamed from {was.display_name or 'nothing'}", tail)
    if member.active is not None and was.active is not member.active:
        states = [(each, each.active) for each in ours if each.active is not None]
        if not _may_be_ours(states, member.active):
            tail = _tail(Difference.ACTIVE, member, states, (was.active, member.active), expected)
            yield _drift_note(member.email, name, "was reactivated" if member.active else "was deactivated", tail)


def _may_be_ours(sent: Iterable[tuple[Written, object]], now: object) -> bool:
    return any(value == now and not each.is_sure for each, value in sent)


def _tail(
    difference: Difference,
    member: Member,
    sent: Sequence[tuple[Written, object]],
    values: tuple[object, object],
    expected: Expectation,
) -> str:
    """Return why a change of *values* (before, now) looks like another tool's, empty when it does not.

    *sent* are our writes of this field, the oldest first.
    """
    before, now = values
    # A listing that lags may show our own write late.
    if expected.call_for(difference, member) and all(value != now for _, value in sent):
        return AS_SOURCES
    last = [(each.is_recent, value) for each, value in sent if each.is_sure][-1:]
    return UNDOES_US if last == [(True, before)] else ""


ELSE = "another tool or administrator also manages this workspace."
AS_SOURCES = f", as the sources require: {ELSE}"
UNDOES_US = f", which reverts what this agent wrote within 24 hours: {ELSE}"


def _drift_note(email: str, name: str, what: str, tail: str = "") -> Note:
    code = NoteCode.ANOTHER_WRITER if tail else NoteCode.DRIFT
    return Note(code, email, f"{name or email} {what} since our last run, not by this agent{tail or '.'}")


class SourceExpectation:
    """What the sources call for, once everything else of the plan is decided.

    *ours* are members that our unconfirmed creates made. An unconfirmed create may have made any member of its person
    or with its email, so no difference of such a member is attributed to another tool.
    """

    def __init__(self, builder: PlanBuilder, ours: frozenset[str]) -> None:
        self._draft = builder
        self._ours = ours
        self._unsettled_emails = {
            normalize(unconfirmed.email) for unconfirmed in builder.inputs.memory.unconfirmed_creates
        }
        self._unsettled_people = {unconfirmed.person for unconfirmed in builder.inputs.memory.unconfirmed_creates}

    def call_for(self, difference: Difference, member: Member) -> bool:
        """Return whether our own plan would have made *difference*, and leaves nothing to do for *member*."""
        builder, scim_id = self._draft, member.scim_id
        assigned = builder.in_sync_people.get(scim_id)
        person = assigned.key if assigned else builder.person_by_scim_id.get(scim_id)
        if scim_id in self._ours or builder.is_protected(member) or self._is_unsettled(member, person):
            return False
        if assigned is None:
            return difference is Difference.ACTIVE and member.active is False and would_deactivate(builder, member)
        if difference is Difference.CREATED:
            # What has a link is known from before, whatever the last listing showed.
            return scim_id not in builder.person_by_scim_id
        return difference is not Difference.NAME or assigned.person.display_name != ""

    def _is_unsettled(self, member: Member, person: PersonKey | None) -> bool:
        return normalize(member.email) in self._unsettled_emails or person in self._unsettled_people
