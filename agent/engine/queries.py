"""Answer queries about people from a fresh read and the journal. Like a dry run, this can't write to a workspace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from agent.diff.access import current_access, past_access
from agent.diff.explain import email_matches, explain
from agent.engine.planner import Planner, ReadOnlyWorkspace, select_workspaces
from agent.model import Unplanned
from agent.model.access import Access, Explanation
from agent.model.run import ChangeRecord, Run
from agent.ports.state import State

__all__ = ["explain_person", "list_past_access", "list_person_changes", "load_access"]


async def explain_person(
    planner: Planner, workspaces: Mapping[str, ReadOnlyWorkspace], names: Sequence[str], email: str
) -> list[Explanation | Unplanned]:
    """Explain *email* in each of the named workspaces; all if *names* is empty."""
    explained: list[Explanation | Unplanned] = []
    for decision in await planner.plan(list(select_workspaces(workspaces, names).values())):
        if decision.inputs is None or decision.plan is None:
            if decision.unplanned is not None:
                explained.append(decision.unplanned)
            continue
        matches = email_matches(email, decision.inputs, decision.policy)
        ids = {member.scim_id for member in matches.members}
        actions = await _find_changes(planner, decision.policy.workspace, email, ids)
        pause = await planner.state.load_pause(decision.policy.workspace)
        explained.append(explain(email, decision.inputs, decision.policy, decision.plan, actions, pause))
    return explained


async def _find_changes(planner: Planner, workspace: str, email: str, ids: set[str]) -> list[ChangeRecord]:
    """Return the changes of everyone who has or had the address, including changes under another address."""
    by_email = await planner.state.load_member_changes(workspace, email=email)
    found = {(record.run_id, record.seq): record for record in by_email}
    for scim_id in sorted(ids.union(record.scim_id for record in by_email if record.scim_id)):
        found |= {
            (each.run_id, each.seq): each
            for each in await planner.state.load_member_changes(workspace, scim_id=scim_id)
        }
    return sorted(found.values(), key=lambda record: (record.sent_at, record.seq), reverse=True)[:10]


async def list_person_changes(
    state: State, names: Sequence[str], email: str, since: datetime | None, limit: int
) -> list[tuple[ChangeRecord, Run]]:
    """Return the newest changes of everyone who has or had *email*, each with its run; all workspaces without *names*.

    Changes of the same members under another address are included.
    """
    found: dict[tuple[str, int], ChangeRecord] = {}
    for name in names or [known.name for known in await state.load_workspaces()]:
        by_email = await state.load_member_changes(name, limit, email=email)
        for scim_id in sorted({record.scim_id for record in by_email if record.scim_id}):
            by_email += await state.load_member_changes(name, limit, scim_id=scim_id)
        found |= {(each.run_id, each.seq): each for each in by_email if since is None or each.sent_at >= since}
    newest = sorted(found.values(), key=lambda each: (each.sent_at, each.run_id, each.seq), reverse=True)[:limit]
    runs = {run.id: run for run in await state.load_runs(limit=limit, ids=[each.run_id for each in newest])}
    # A run that was pruned since then has taken its changes with it.
    return [(each, runs[each.run_id]) for each in newest if each.run_id in runs]


async def load_access(
    planner: Planner, workspaces: Mapping[str, ReadOnlyWorkspace], names: Sequence[str]
) -> dict[str, tuple[Access, ...] | Unplanned]:
    """Return who has access now, by workspace, also where that is not a single person."""
    found: dict[str, tuple[Access, ...] | Unplanned] = {}
    for decision in await planner.plan(list(select_workspaces(workspaces, names).values())):
        name = decision.policy.workspace
        if decision.inputs is not None:
            history = await planner.state.load_member_history(name)
            found[name] = current_access(decision.inputs, decision.policy, history)
        elif decision.unplanned is not None:
            found[name] = decision.unplanned
    return found


async def list_past_access(
    planner: Planner, workspaces: Mapping[str, ReadOnlyWorkspace], names: Sequence[str], when: datetime
) -> list[tuple[str, datetime | None, tuple[Access, ...]]]:
    """Return who had access when the last run until *when* ended, with that time; None: there was no run."""
    past: list[tuple[str, datetime | None, tuple[Access, ...]]] = []
    for name, workspace in select_workspaces(workspaces, names).items():
        found = await planner.state.load_last_seen(name, when)
        past.append(
            (name, found[0], past_access(name, found[1], workspace.policy.target)) if found else (name, None, ())
        )
    return past
