"""Describe directories and workspaces, and change them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from datetime import date

from sandbox.admin.body import BadRequest, RequestBody
from sandbox.company import Company
from sandbox.environment import Environment
from sandbox.okta import FREE, GENEROUS, WORKFORCE
from sandbox.pigment.options import with_changes
from sandbox.pigment.token import DomainRestriction, Token
from sandbox.pigment.workspace import PigmentWorkspace

__all__ = ["DIRECTORY_ACTIONS", "WORKSPACE_ACTIONS", "describe_directories", "describe_workspaces"]


def describe_directories(company: Company) -> dict[str, object]:
    return {
        name: {
            "people": len(home.people),
            "groups": {group.name: len(group.people) for group in home.groups.values()},
            "apps": {
                app.name: [home.groups[key].name for key in app.groups if key in home.groups]
                for app in home.apps.values()
            },
        }
        for name, home in company.directories.items()
    }


def describe_workspaces(environment: Environment) -> dict[str, object]:
    return {name: _describe_workspace(workspace) for name, workspace in environment.pigment.workspaces.items()}


def _describe_workspace(workspace: PigmentWorkspace) -> dict[str, object]:
    members = workspace.members
    return {
        "members": len(members),
        "active": sum(member.active for member in members),
        "tokens": [{"secret": token.secret, "expires": token.expires} for token in workspace.tokens],
        "restriction": dataclasses.asdict(workspace.restriction),
        "switches": dataclasses.asdict(workspace.options),
        "writes": len(workspace.write_log.writes),
    }


def _unassign_group(environment: Environment, name: str, body: RequestBody) -> None:
    environment.company.unassign_group(environment.company.directory(name).pigment, body.text("group"))


def _assign_group(environment: Environment, name: str, body: RequestBody) -> None:
    environment.company.assign_group(environment.company.directory(name).pigment, body.text("group"))


def _delete_group(environment: Environment, name: str, body: RequestBody) -> None:
    environment.company.delete_group(name, body.text("group"))


def _revoke_tokens(environment: Environment, name: str, _: RequestBody) -> None:
    environment.company.directory(name)
    {
        "okta": environment.okta.token_issuer.revoke_all,
        "entra": environment.entra.token_issuer.revoke_all,
        "onelogin": environment.onelogin.revoke_all,
    }[name]()


def _hide_members(environment: Environment, name: str, body: RequestBody) -> None:
    if name != "entra":
        raise BadRequest("Only groups of entra can hide their members.")
    environment.company.directory(name).group(body.text("group")).hides_members = body.flag("on", otherwise=True)


def _set_permissions(environment: Environment, name: str, body: RequestBody) -> None:
    permissions = body.text_list_or_none("permissions")
    if name != "entra" or permissions is None:
        raise BadRequest("Only entra has permissions to grant: all that the application is to have.")
    environment.entra.roles = frozenset(permissions)


def _set_rate_limits(environment: Environment, name: str, body: RequestBody) -> None:
    limits = {"generous": GENEROUS, "workforce": WORKFORCE, "free": FREE}
    preset = body.text("preset")
    if name != "okta" or preset not in limits:
        raise BadRequest(f"Only okta has presets: {', '.join(limits)}.")
    environment.okta.set_rate_limits(limits[preset])


def _require_dpop(environment: Environment, name: str, body: RequestBody) -> None:
    if name != "okta":
        raise BadRequest("Only okta has DPoP.")
    environment.okta.token_issuer.clients[environment.okta_client_id].requires_dpop = body.flag("on", otherwise=True)
    environment.okta.api_proofs.requires_nonce = body.flag("api_nonce", otherwise=False)


def _set_restriction(workspace: PigmentWorkspace, body: RequestBody) -> None:
    workspace.restriction = DomainRestriction(
        body.flag("on", otherwise=True), tuple(body.text_list_or_none("domains") or ())
    )


def _set_options(workspace: PigmentWorkspace, body: RequestBody) -> None:
    workspace.options = with_changes(workspace.options, body.fields())


def _add_token(workspace: PigmentWorkspace, body: RequestBody) -> None:
    expires = body.text_or_none("expires")
    try:
        workspace.tokens.add(Token(body.text("secret"), date.fromisoformat(expires) if expires else None))
    except ValueError as error:
        raise BadRequest(f"expires must be a date: {error}.") from error


def _create_member(workspace: PigmentWorkspace, body: RequestBody) -> None:
    workspace.admin_create(body.text("email"), body.text("display_name"), active=body.flag("active", otherwise=True))


DIRECTORY_ACTIONS: Mapping[str, tuple[tuple[str, ...], Callable[[Environment, str, RequestBody], None]]] = {
    "assign-group": (("group",), _assign_group),
    "unassign-group": (("group",), _unassign_group),
    "delete-group": (("group",), _delete_group),
    "revoke-tokens": ((), _revoke_tokens),
    "limit": (("preset",), _set_rate_limits),
    "hide-members": (("group", "on"), _hide_members),
    "grant": (("permissions",), _set_permissions),
    "require-dpop": (("on", "api_nonce"), _require_dpop),
}
"""The actions on a directory: their fields and their function."""

WORKSPACE_ACTIONS: Mapping[str, tuple[tuple[str, ...] | None, Callable[[PigmentWorkspace, RequestBody], None]]] = {
    "switch": (None, _set_options),
    "restrict": (("on", "domains"), _set_restriction),
    "add-token": (("secret", "expires"), _add_token),
    "revoke-token": (("secret",), lambda workspace, body: workspace.tokens.revoke(body.text("secret"))),
    "create": (("email", "display_name", "active"), _create_member),
    "rename": (
        ("email", "display_name"),
        lambda workspace, body: workspace.admin_rename(body.text("email"), body.text("display_name")),
    ),
    "move": (
        ("email", "to"),
        lambda workspace, body: workspace.admin_change_email(body.text("email"), body.text("to")),
    ),
    "deactivate": (("email",), lambda workspace, body: workspace.admin_deactivate(body.text("email"))),
    "reactivate": (("email",), lambda workspace, body: workspace.admin_reactivate(body.text("email"))),
    "remove": (("email",), lambda workspace, body: workspace.admin_remove(body.text("email"))),
}
"""The actions of a workspace's administrator: their fields (None: the workspace's options) and their function."""
