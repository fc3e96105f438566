"""Send one change to the workspace and return its outcome."""

from __future__ import annotations

import re
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import KW_ONLY, dataclass, replace
from typing import assert_never

from agent.errors import NotPersisted, WorkspaceUnavailable, WriteError, WriteLost, WriteRefused, WriteStopped
from agent.model import Change, Fields, Kind, Member
from agent.model.email import normalize
from agent.model.match import MatchVerdict, judge_match
from agent.model.run import Outcome
from agent.ports.workspace import WorkspaceWriter
from connectors.base import ReadError

__all__ = ["ChangeResult", "send"]

CONFLICT = 409


@dataclass(frozen=True, slots=True)
class ChangeResult:
    """The outcome of a change. *member* is the workspace's proof where it was made; *detail* a sentence.

    *is_accepted*: the workspace answered with a success, and does not show it. *existing* is the member that a create
    found in its place, as it was before.
    """

    outcome: Outcome
    detail: str = ""
    _: KW_ONLY
    member: Member | None = None
    is_accepted: bool = False
    existing: Member | None = None


async def send(
    workspace: WorkspaceWriter,
    change: Change,
    member: Member | None,
    taken: AbstractSet[str],
    protected: re.Pattern[str],
    alone: Callable[[], AbstractAsyncContextManager[None]] = nullcontext,
) -> ChangeResult:
    """Make one change. *member* is the one it is about, as listed; *taken* are the SCIM ids that have a link.

    *protected* matches the normalized addresses of members that get no change, whether or not the listing showed them.
    A create that meets a member decides *alone* whose it is: another create may have made it, and have no answer yet.

    Raises `WorkspaceUnavailable` and `WriteStopped` when the rest of the plan can't be made either; every other failure
    is this person's.
    """
    if change.kind is Kind.ADOPT:
        # What an undo does to a member that a create only met: the state ends the link with this answer.
        return ChangeResult(Outcome.DONE, "The link ended; nothing was sent.", member=member)
    try:
        return ChangeResult(Outcome.DONE, member=await _write_change(workspace, change, member))
    except (WorkspaceUnavailable, WriteStopped):
        raise
    except WriteRefused as error:
        if change.kind is Kind.CREATE and error.status == CONFLICT:
            async with alone():
                return await _resolve_conflict(workspace, change, taken, protected, error)
        return _failure_result(error)
    except WriteError as error:
        return _failure_result(error)


def _failure_result(error: WriteError) -> ChangeResult:
    """Return the outcome of a change that *error* ended; it may have been made nevertheless."""
    if isinstance(error, NotPersisted):
        return ChangeResult(Outcome.NOT_PERSISTED, _error_sentence(error), is_accepted=True)
    if isinstance(error, WriteLost):
        return ChangeResult(Outcome.UNKNOWN, _error_sentence(error), is_accepted=error.is_accepted)
    return ChangeResult(Outcome.FAILED, _error_sentence(error))


def _error_sentence(error: WriteError | ReadError) -> str:
    return f"{error.message} {error.hint}"


async def _write_change(workspace: WorkspaceWriter, change: Change, member: Member | None) -> Member:
    if change.kind is Kind.CREATE:
        return await workspace.create(change.email, change.display_name, change.given_name, change.family_name)
    if member is None:
        raise AssertionError("every change but a create is about a member of the listing")
    # Pigment silently drops an email in a PATCH (pigment-scim.md), so an email change is a full PUT.
    if change.changes_email:
        return await workspace.replace(member, change.after)
    return await workspace.patch(member, change.after)


async def _resolve_conflict(
    workspace: WorkspaceWriter,
    change: Change,
    taken: AbstractSet[str],
    protected: re.Pattern[str],
    conflict: WriteRefused,
) -> ChangeResult:
    """Adopt the member that a create ran into by rows 6 and 7, or hold; the listing did not show it."""
    try:
        found = await workspace.find(change.email)
    except ReadError as error:
        return ChangeResult(Outcome.FAILED, _error_sentence(error))
    if not found:
        return ChangeResult(Outcome.FAILED, _error_sentence(conflict))
    member = found[0]
    if protected.match(normalize(member.email)):
        return ChangeResult(Outcome.HELD, f"{change.email} belongs to a protected member; see the next plan.")
    verdict = judge_match(change.display_name, member, taken) if len(found) == 1 else MatchVerdict.TAKEN
    match verdict:
        case MatchVerdict.TAKEN | MatchVerdict.UNREADABLE:
            reason = f"{change.email} belongs to a member of another person; see the next plan."
            return ChangeResult(Outcome.HELD, reason)
        case MatchVerdict.POSSIBLY_RECYCLED:
            named = member.display_name or "nothing"
            reason = f"An inactive member named {named} has {change.email}; see the next plan."
            return ChangeResult(Outcome.HELD, reason)
        case MatchVerdict.LINK:
            reason = "The member existed and is linked; nothing was changed."
            return ChangeResult(Outcome.DONE, reason, member=member, existing=member)
        case MatchVerdict.REACTIVATE:
            return await _reactivate_member(workspace, member)
        case _:
            assert_never(verdict)


async def _reactivate_member(workspace: WorkspaceWriter, member: Member) -> ChangeResult:
    try:
        active = await workspace.patch(member, Fields(active=True))
    except (WorkspaceUnavailable, WriteStopped):
        raise
    except WriteError as error:
        return replace(_failure_result(error), existing=member)
    return ChangeResult(Outcome.DONE, "The member existed and was reactivated.", member=active, existing=member)
