"""Plan one workspace against an exported member list: a first look, before SCIM is switched on.

The plan is recorded nowhere: it is no proof of a clean dry run, and no approval can use it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

from agent.engine.dryrun import exit_code_of_plan
from agent.engine.planner import PlannerProtocol, ReadOnlyWorkspace
from agent.errors import ExitCode
from agent.model import Plan, Policy
from agent.model.codes import NoteCode
from agent.ports.workspace import WorkspaceReader
from agent.report.document import workspace_digest, workspace_object
from agent.report.schema import MembersFileObject, WorkspaceObject

__all__ = ["MembersPlan", "plan_with_members"]


@dataclass(frozen=True, slots=True)
class MembersPlan:
    """The plan as the plan document shows it, and the exit code of the command."""

    workspace: WorkspaceObject
    exit_code: ExitCode


async def plan_with_members(  # noqa: PLR0913  (the command's options, each by name)
    planner: PlannerProtocol,
    policy: Policy,
    reader: WorkspaceReader,
    origin: MembersFileObject,
    *,
    has_names: bool,
    user: str = "",
    exit_code: bool = False,
) -> MembersPlan:
    """Return the plan of the workspace of *policy* with the members of *reader*, which are from *origin*.

    *planner* must have an empty state: a member of a list has no SCIM id that a link could name.
    """
    workspace = ReadOnlyWorkspace(replace(policy, compares_names=has_names), reader)
    (decision,) = await planner.plan([workspace], user)
    planned = decision.planned
    if isinstance(planned, Plan):
        # The state is empty by design here, so the note that warns of it would mislead.
        planned = replace(planned, notes=tuple(note for note in planned.notes if note.code != NoteCode.STATE_EMPTY))
    whole = cast("WorkspaceObject", {**workspace_object(planned), "members_from": origin})
    whole["digest"] = workspace_digest(whole)
    return MembersPlan(whole, exit_code_of_plan(decision, exit_code=exit_code))
