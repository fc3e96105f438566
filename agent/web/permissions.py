"""Who may do what with a workspace: each action with its role, what stands in the way now, and who has each role."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agent.daemon.interface import WorkspaceStatus
from agent.model import Mode
from agent.model.approval import ApprovalPolicy
from agent.settings.server import ServerSettings
from agent.settings.token import Role
from agent.web.auth import readable_tokens

__all__ = ["Permission", "RoleHolders", "permissions", "role_holders"]

DRY_RUN_MODE = "the workspace is in mode dry-run"
PAUSED = "the workspace is paused"
ROLE_WORDS = {Role.READ: "read or operate", Role.OPERATE: "operate"}


@dataclass(frozen=True, slots=True)
class Permission:
    """What one person may do. *needs* is what the action asks for besides the role.

    *why_not* is why the person can't do it now; empty when they can.
    """

    action: str
    role: Role
    needs: str
    why_not: str

    @property
    def roles(self) -> str:
        return ROLE_WORDS[self.role]


@dataclass(frozen=True, slots=True)
class RoleHolders:
    """Who has *role*: the names of tokens, and groups of the login with the identity provider."""

    role: Role
    tokens: Sequence[str]
    groups: Sequence[str]


def permissions(role: Role, status: WorkspaceStatus, policy: ApprovalPolicy) -> list[Permission]:
    """Return what a person with *role* may do with the workspace of *status* now."""
    dry_run = DRY_RUN_MODE if status.mode is Mode.DRY_RUN else ""
    paused = PAUSED if status.pause is not None else ""
    actions = (
        ("Look at runs, plans, links and people; download reports", Role.READ, "", ""),
        ("Dry run", Role.OPERATE, "", ""),
        ("Sync now", Role.OPERATE, "", dry_run or (f"{paused}, so a sync only plans" if paused else "")),
        ("Approve a plan", Role.OPERATE, approval_needs(policy), dry_run or paused),
        ("Undo a run", Role.OPERATE, _people_and_reason(policy), dry_run),
        ("Pause and resume", Role.OPERATE, "", ""),
        ("Correct links", Role.OPERATE, "a reason", ""),
    )
    return [
        Permission(action, needed, needs, obstacle if role.includes(needed) else f"your role is {role}")
        for action, needed, needs, obstacle in actions
    ]


def approval_needs(policy: ApprovalPolicy) -> str:
    """Return what an approval asks for: "2 different people; a reason; above 10 deactivations, their number"."""
    return "; ".join(
        filter(None, (_people_and_reason(policy), f"above {policy.confirm_over:,} deactivations, their number"))
    )


def _people_and_reason(policy: ApprovalPolicy) -> str:
    people = f"{policy.needed} different people" if policy.needed > 1 else ""
    return "; ".join(filter(None, (people, "a reason" if policy.requires_reason else "")))


def role_holders(server: ServerSettings) -> list[RoleHolders]:
    """Return who has each role, the widest first. A token that can't be read gives no one a role."""
    tokens = readable_tokens(server.tokens)
    groups = server.oidc.roles if server.oidc is not None else {}
    return [
        RoleHolders(
            role,
            sorted(dict.fromkeys(each.name for each in tokens if each.role is role)),
            sorted(group for group, given in groups.items() if given is role),
        )
        for role in (Role.OPERATE, Role.READ)
    ]
