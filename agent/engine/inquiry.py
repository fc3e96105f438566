"""Answer questions about people from a fresh read and the journal. Like a dry run, it can't write to a workspace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from agent.answer import Access, Explanation
from agent.diff.access import access_now, access_then
from agent.diff.explain import explain, subject
from agent.engine.survey import ReadSite, Survey, chosen
from agent.model import Unplanned
from agent.ports import ChangeRecord

__all__ = ["accesses", "explanations", "past_accesses"]


async def explanations(
    survey: Survey, sites: Mapping[str, ReadSite], names: Sequence[str], email: str
) -> list[Explanation | Unplanned]:
    """Explain *email* in each of the named workspaces, all when none is named."""
    explained: list[Explanation | Unplanned] = []
    for decision in await survey.decide(list(chosen(sites, names).values())):
        if decision.reads is None or decision.plan is None:
            if decision.unplanned is not None:
                explained.append(decision.unplanned)
            continue
        meant = subject(email, decision.reads, decision.policy)
        ids = {member.scim_id for member in meant.members}
        actions = await _actions(survey, decision.policy.workspace, email, ids)
        pause = await survey.state.paused(decision.policy.workspace)
        explained.append(explain(email, decision.reads, decision.policy, decision.plan, actions, pause))
    return explained


async def _actions(survey: Survey, workspace: str, email: str, ids: set[str]) -> list[ChangeRecord]:
    """Return what was done to whoever has or had the address, also under another one since."""
    by_email = await survey.state.actions(workspace, email=email)
    found = {(record.run_id, record.seq): record for record in by_email}
    for scim_id in sorted(ids.union(record.scim_id for record in by_email if record.scim_id)):
        found |= {(each.run_id, each.seq): each for each in await survey.state.actions(workspace, scim_id=scim_id)}
    return sorted(found.values(), key=lambda record: (record.sent_at, record.seq), reverse=True)[:10]


async def accesses(
    survey: Survey, sites: Mapping[str, ReadSite], names: Sequence[str]
) -> list[tuple[Access, ...] | Unplanned]:
    """Return who has access to each of the named workspaces now."""
    rows: list[tuple[Access, ...] | Unplanned] = []
    for decision in await survey.decide(list(chosen(sites, names).values())):
        if decision.reads is not None:
            history = await survey.state.member_history(decision.policy.workspace)
            rows.append(access_now(decision.reads, decision.policy, history))
        elif decision.unplanned is not None:
            rows.append(decision.unplanned)
    return rows


async def past_accesses(
    survey: Survey, sites: Mapping[str, ReadSite], names: Sequence[str], when: datetime
) -> list[tuple[str, datetime | None, tuple[Access, ...]]]:
    """Return who had access when the last run until *when* ended, with that time; None: there was no run."""
    past: list[tuple[str, datetime | None, tuple[Access, ...]]] = []
    for name in chosen(sites, names):
        found = await survey.state.left_at(name, when)
        past.append((name, found[0], access_then(name, found[1])) if found else (name, None, ()))
    return past
