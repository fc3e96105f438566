"""Tell what changed in a workspace since our last run that we did not do, and how our runs leave it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from agent.address import folded
from agent.model import Kind, Left, Link, Member, Note
from agent.ports import ChangeRecord, Outcome

__all__ = ["drift", "members_left"]

# After these nobody knows how the member is: what differs next time may be ours.
UNSURE = frozenset({Outcome.UNKNOWN, Outcome.NOT_PERSISTED})


def members_left(
    members: Mapping[str, Member], records: Sequence[ChangeRecord], links: Sequence[Link]
) -> tuple[Left, ...]:
    """Return the members of the listing with what a run has done to them, in the order of their ids."""
    owners = {link.scim_id: link for link in links}
    shown: dict[str, tuple[str, str, bool | None]] = {
        scim_id: (member.email, member.display_name, member.active) for scim_id, member in members.items()
    }
    for record in records:
        change, scim_id = record.change, record.scim_id
        if change.kind is Kind.ADOPT or scim_id is None:
            continue
        email, name, active = shown.get(scim_id, (change.email, change.display_name, True))
        if change.kind is not Kind.CREATE and scim_id not in shown:  # it answered under a new id
            email, name, active = shown.pop(change.scim_id or "", (email, name, active))
        if record.outcome is Outcome.DONE:
            after = change.after
            name = name if after.display_name is None else after.display_name
            active = active if after.active is None else after.active
            shown[scim_id] = (after.email or email, name, active)
        elif record.outcome in UNSURE:
            shown[scim_id] = (email, name, None)
    left = []
    for scim_id, (email, name, active) in sorted(shown.items()):
        link = owners.get(scim_id)
        groups = tuple(sorted({group.name for group in link.groups})) if link else ()
        left.append(Left(scim_id, email, name, active, link.person if link else None, groups))
    return tuple(left)


def drift(left: Sequence[Left] | None, members: Mapping[str, Member], settled: frozenset[str]) -> Iterator[Note]:
    """Yield a note for each member that is not as our last run left it; none when there was no run.

    *settled* are members that lost creates of ours made.
    """
    if left is None:
        return
    former = {each.scim_id: each for each in left}
    for scim_id, member in members.items():
        was = former.get(scim_id)
        if was is None:
            if scim_id not in settled:
                yield _note(member.email, member.display_name, "was created")
        elif was.active is not None:
            yield from _changed(was, member)
    for scim_id, was in former.items():
        if scim_id not in members:
            yield _note(was.email, was.display_name, "is not in the listing any more")


def _changed(was: Left, member: Member) -> Iterator[Note]:
    if folded(was.email) != folded(member.email):
        yield _note(member.email, member.display_name, f"had the email {was.email}")
    if was.display_name != member.display_name:
        yield _note(member.email, member.display_name, f"was renamed from {was.display_name or 'nothing'}")
    if member.active is not None and was.active is not member.active:
        yield _note(member.email, member.display_name, "was reactivated" if member.active else "was deactivated")


def _note(email: str, name: str, what: str) -> Note:
    return Note("drift", email, f"{name or email} {what} since our last run, and not by us.")
