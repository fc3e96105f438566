"""Look at directories and workspaces, and throw their switches."""

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


def describe_workspaces(world: Environment) -> dict[str, object]:
    return {name: _describe_workspace(space) for name, space in world.pigment.workspaces.items()}


def _describe_workspace(space: PigmentWorkspace) -> dict[str, object]:
    members = space.members
    return {
        "members": len(members),
        "active": sum(member.active for member in members),
        "tokens": [{"secret": token.secret, "expires": token.expires} for token in space.tokens],
        "restriction": dataclasses.asdict(space.restriction),
        "switches": dataclasses.asdict(space.options),
        "writes": len(space.write_log.writes),
    }


def _unassign_group(world: Environment, name: str, body: RequestBody) -> None:
    world.company.unassign_group(world.company.directory(name).pigment, body.text("group"))


def _assign_group(world: Environment, name: str, body: RequestBody) -> None:
    world.company.assign_group(world.company.directory(name).pigment, body.text("group"))


def _delete_group(world: Environment, name: str, body: RequestBody) -> None:
    world.company.delete_group(name, body.text("group"))


def _revoke_tokens(world: Environment, name: str, _: RequestBody) -> None:
    world.company.directory(name)
    {
        "okta": world.okta.token_issuer.revoke_all,
        "entra": world.entra.token_issuer.revoke_all,
        "onelogin": world.onelogin.revoke_all,
    }[name]()


def _hide_members(world: Environment, name: str, body: RequestBody) -> None:
    if name != "entra":
        raise BadRequest("Only groups of entra can hide their members.")
    world.company.directory(name).group(body.text("group")).hides_members = body.flag("on", otherwise=True)


def _set_permissions(world: Environment, name: str, body: RequestBody) -> None:
    permissions = body.text_list_or_none("permissions")
    if name != "entra" or permissions is None:
        raise BadRequest("Only entra has permissions to grant: all that the application is to have.")
    world.entra.roles = frozenset(permissions)


def _set_rate_limits(world: Environment, name: str, body: RequestBody) -> None:
    limits = {"generous": GENEROUS, "workforce": WORKFORCE, "free": FREE}
    preset = body.text("preset")
    if name != "okta" or preset not in limits:
        raise BadRequest(f"Only okta has presets: {', '.join(limits)}.")
    world.okta.set_rate_limits(limits[preset])


def _set_restriction(space: PigmentWorkspace, body: RequestBody) -> None:
    space.restriction = DomainRestriction(
        body.flag("on", otherwise=True), tuple(body.text_list_or_none("domains") or ())
    )


def _set_options(space: PigmentWorkspace, body: RequestBody) -> None:
    space.options = with_changes(space.options, body.fields())


def _add_token(space: PigmentWorkspace, body: RequestBody) -> None:
    expires = body.text_or_none("expires")
    try:
        space.tokens.add(Token(body.text("secret"), date.fromisoformat(expires) if expires else None))
    except ValueError as error:
        raise BadRequest(f"expires must be a date: {error}.") from error


def _create_member(space: PigmentWorkspace, body: RequestBody) -> None:
    space.admin_create(body.text("email"), body.text("display_name"), active=body.flag("active", otherwise=True))


DIRECTORY_ACTIONS: Mapping[str, tuple[tuple[str, ...], Callable[[Environment, str, RequestBody], None]]] = {
    "assign-group": (("group",), _assign_group),
    "unassign-group": (("group",), _unassign_group),
    "delete-group": (("group",), _delete_group),
    "revoke-tokens": ((), _revoke_tokens),
    "limit": (("preset",), _set_rate_limits),
    "hide-members": (("group", "on"), _hide_members),
    "grant": (("permissions",), _set_permissions),
}
"""What can happen to a directory: the fields that it takes, and the doing."""

WORKSPACE_ACTIONS: Mapping[str, tuple[tuple[str, ...] | None, Callable[[PigmentWorkspace, RequestBody], None]]] = {
    "switch": (None, _set_options),
    "restrict": (("on", "domains"), _set_restriction),
    "add-token": (("secret", "expires"), _add_token),
    "revoke-token": (("secret",), lambda space, body: space.tokens.revoke(body.text("secret"))),
    "create": (("email", "display_name", "active"), _create_member),
    "rename": (
        ("email", "display_name"),
        lambda space, body: space.admin_rename(body.text("email"), body.text("display_name")),
    ),
    "move": (("email", "to"), lambda space, body: space.admin_change_email(body.text("email"), body.text("to"))),
    "deactivate": (("email",), lambda space, body: space.admin_deactivate(body.text("email"))),
    "reactivate": (("email",), lambda space, body: space.admin_reactivate(body.text("email"))),
    "remove": (("email",), lambda space, body: space.admin_remove(body.text("email"))),
}
"""What an administrator can do to a workspace by hand: the fields that it takes (None: its switches), and the doing."""
