"""An approval: one person's word that what guards hold of one plan may be applied."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

__all__ = ["Approval", "ApprovalPolicy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """Who approved the plan with *digest*, when and why.

    *digest* is that of the workspace's own plan, also where the digest of a whole document was given. *guards* are the
    codes of the guards that it is for, sorted; empty: all of the plan. *run_id* is the run in which it was given,
    *applied_in* the run that applied what it releases: empty while other people must approve too. Once applied, it
    counts for no other run.
    """

    workspace: str
    digest: str
    by: str
    at: datetime
    reason: str
    guards: tuple[str, ...] = ()
    run_id: str = ""
    applied_in: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalPolicy:
    """What an approval needs: how many different people (*needed*), whether a reason; an approval that does not
    release anything yet waits for *valid_for*. Above *confirm_over* deactivations the page asks to type their number.
    """

    needed: int = 1
    requires_reason: bool = True
    confirm_over: int = 10
    valid_for: timedelta = timedelta(hours=24)
