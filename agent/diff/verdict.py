"""One sentence for each person and workspace: who has access, and who gets or loses it at the next sync. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from agent.model import Change, Hold, Kind, Member, Mode, Policy, Unplanned
from agent.model.access import Explanation
from agent.model.run import Pause

__all__ = ["verdict_line", "workspace_verdict"]

GRANTS = (Kind.CREATE, Kind.REACTIVATE)
UPDATES = {Kind.UPDATE_EMAIL: "changed email", Kind.UPDATE_NAME: "changed name"}


def workspace_verdict(
    entries: Sequence[Change | Hold], members: Sequence[Member], policy: Policy, pause: Pause | None
) -> str:
    """Return "loses access to latam at the next sync: …", for the plan's *entries* about one person.

    Empty: the person has no access, and no entry is about it.
    """
    name = policy.workspace
    has_access = any(member.active for member in members)
    changes = [entry for entry in entries if isinstance(entry, Change)]
    if found := next((each for each in changes if each.kind in (*GRANTS, Kind.DEACTIVATE)), None):
        verb = "get" if found.kind in GRANTS else "lose"
        if block := _block(policy, pause):
            return f"would {verb} access to {name}, {block}: {found.reason}"
        return f"{verb}s access to {name} at the next sync: {found.reason}"
    access = f"has access to {name}" if has_access else f"has no access to {name}"
    if held := next((entry for entry in entries if isinstance(entry, Hold)), None):
        return f"{access}; {held.kind} is on hold ({held.code}): {held.reason}"
    if not has_access:
        return ""
    updates = [UPDATES[each.kind] for each in changes if each.kind in UPDATES]
    return f"{access}, with a {' and a '.join(updates)} at the next sync" if updates else access


def verdict_line(email: str, explanations: Sequence[Explanation | Unplanned]) -> str:
    """Return the verdict on *email* in all workspaces, in one line."""
    verdicts = [each.verdict for each in explanations if isinstance(each, Explanation) and each.verdict]
    without = [each.workspace for each in explanations if isinstance(each, Explanation) and not each.verdict]
    unread = [each.workspace for each in explanations if isinstance(each, Unplanned)]
    sentences = [f"{email} {'; '.join(verdict.rstrip('.') for verdict in verdicts)}."] if verdicts else []
    if without:
        sentences.append(f"{'Not in' if verdicts else f'{email} is not in'} {', '.join(without)}.")
    if unread:
        sentences.append(f"Not known for {', '.join(unread)}: could not be read.")
    return " ".join(sentences)


def _block(policy: Policy, pause: Pause | None) -> str:
    if policy.mode is Mode.DRY_RUN:
        return "which is in mode dry-run"
    return "" if pause is None else "which is paused"
